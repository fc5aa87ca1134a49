"""The document's classes PerformanceMonitor and RealUserMonitoring, literally but for TypeScript's syntax."""

PERFORMANCE_MONITOR = """
class PerformanceMonitor {
  static instance;

  static getInstance() {
    if (!this.instance) {
      this.instance = new PerformanceMonitor();
    }
    return this.instance;
  }

  // Page load performance
  trackPageLoad(pageName) {
    if (typeof window !== 'undefined' && window.performance) {
      const perfData = window.performance.getEntriesByType('navigation')[0];

      const metrics = {
        page: pageName,
        domContentLoaded: perfData.domContentLoadedEventEnd - perfData.domContentLoadedEventStart,
        loadComplete: perfData.loadEventEnd - perfData.loadEventStart,
        totalLoadTime: perfData.loadEventEnd - perfData.fetchStart,
        renderTime: perfData.domComplete - perfData.domLoading,
      };

      // Send to monitoring service
      this.sendMetrics('page_load', metrics);
    }
  }

  // API performance tracking
  async trackAPICall(endpoint, method, fn) {
    const startTime = performance.now();
    let status = 'success';

    try {
      const result = await fn();
      return result;
    } catch (error) {
      status = 'error';
      throw error;
    } finally {
      const duration = performance.now() - startTime;

      this.sendMetrics('api_call', {
        endpoint,
        method,
        duration,
        status,
        timestamp: new Date().toISOString(),
      });
    }
  }

  // Database query performance
  trackDatabaseQuery(query, duration) {
    this.sendMetrics('database_query', {
      query: this.sanitizeQuery(query),
      duration,
      timestamp: new Date().toISOString(),
    });
  }

  sanitizeQuery(query) {
    // Remove sensitive data from queries
    return query.replace(/\\b\\d{4,}\\b/g, 'XXXX');
  }

  sendMetrics(type, data) {
    // Send to multiple monitoring services
    if (typeof window !== 'undefined') {
      // Send to Google Analytics
      if (window.gtag) {
        window.gtag('event', type, data);
      }

      // Send to custom monitoring endpoint
      fetch('/api/metrics', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ type, data }),
      }).catch(console.error);
    }
  }
}
"""

REAL_USER_MONITORING = """
class RealUserMonitoring {
  constructor() {
    this.initializeWebVitals();
    this.trackUserInteractions();
    this.monitorErrors();
  }

  initializeWebVitals() {
    if (typeof window !== 'undefined') {
      import('web-vitals').then(({ getCLS, getFID, getFCP, getLCP, getTTFB }) => {
        getCLS(this.sendWebVital);
        getFID(this.sendWebVital);
        getFCP(this.sendWebVital);
        getLCP(this.sendWebVital);
        getTTFB(this.sendWebVital);
      });
    }
  }

  sendWebVital({ name, value, id }) {
    const data = {
      metric: name,
      value: Math.round(name === 'CLS' ? value * 1000 : value),
      id,
      page: window.location.pathname,
      timestamp: new Date().toISOString(),
    };

    // Send to monitoring endpoint
    navigator.sendBeacon('/api/rum/vitals', JSON.stringify(data));
  }

  trackUserInteractions() {
    // Track clicks
    document.addEventListener('click', (e) => {
      const target = e.target;
      if (target.tagName === 'BUTTON' || target.tagName === 'A') {
        this.trackEvent('click', {
          element: target.tagName,
          text: target.textContent?.substring(0, 50),
          href: target.href,
        });
      }
    });

    // Track form submissions
    document.addEventListener('submit', (e) => {
      const form = e.target;
      this.trackEvent('form_submit', {
        formId: form.id,
        formName: form.name,
      });
    });
  }

  trackEvent(eventType, data) {
    navigator.sendBeacon('/api/rum/events', JSON.stringify({
      type: eventType,
      data,
      timestamp: new Date().toISOString(),
      sessionId: this.getSessionId(),
    }));
  }

  monitorErrors() {
    window.addEventListener('error', (event) => {
      this.trackEvent('javascript_error', {
        message: event.message,
        source: event.filename,
        line: event.lineno,
        column: event.colno,
        stack: event.error?.stack,
      });
    });

    window.addEventListener('unhandledrejection', (event) => {
      this.trackEvent('unhandled_promise_rejection', {
        reason: event.reason,
      });
    });
  }

  getSessionId() {
    let sessionId = sessionStorage.getItem('rum_session_id');
    if (!sessionId) {
      sessionId = `${Date.now()}-${Math.random().toString(36).substr(2, 9)}`;
      sessionStorage.setItem('rum_session_id', sessionId);
    }
    return sessionId;
  }
}
"""

# What web-vitals gave in the version that the document imports (2.x had getCLS and getFID); one CLS is beyond reason.
WEB_VITALS = """<script type="importmap">{"imports": {"web-vitals": "data:text/javascript,
export const getCLS = (then) => then({ name: 'CLS', value: 250.5, id: 'v2-1' });
export const getFID = (then) => then({ name: 'FID', value: 12, id: 'v2-2' });
export const getFCP = (then) => then({ name: 'FCP', value: 300, id: 'v2-3' });
export const getLCP = (then) => then({ name: 'LCP', value: 700, id: 'v2-4' });
export const getTTFB = (then) => then({ name: 'TTFB', value: 50, id: 'v2-5' });
"}}</script>""".replace("\n", "").replace("export", " export")
