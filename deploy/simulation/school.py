"""A school in good health, as events: what its application server, its back office and its visitors' browsers report.

Every event of the catalogue that a healthy school sends comes with the first beat, so that every family has a series
from the start; afterwards each goes on at a pace that no alert minds. The clock comes in as an argument.
"""

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

Event = dict[str, Any]
# route -> (method, share of the requests, median seconds)
ROUTES = {
    "/": ("GET", 0.20, 0.03),
    "/courses": ("GET", 0.20, 0.05),
    "/api/classes": ("GET", 0.20, 0.08),
    "/api/bookings": ("POST", 0.25, 0.15),
    "/api/payments": ("POST", 0.05, 0.30),
    "/login": ("POST", 0.10, 0.12),
}
CLASSES = ("private", "group", "conversation", "exam")
PLANS = ("trial", "basic", "standard", "premium")
PRIORITIES = ("low", "normal", "high", "urgent")
PROVIDERS = ("stripe", "paypal", "bank_transfer")
CONTROLS = ("access_review", "encryption_at_rest", "backup_restore", "vendor_review", "incident_drill")
CURRENCIES = {"EUR": 100, "USD": 100, "GBP": 100, "VND": 25_000}  # and what makes one unit of the prices here
COHORTS = {"d1": 0.93, "d7": 0.89, "d30": 0.84, "d90": 0.78}
API_CALL = {"endpoint": "/api/classes", "method": "GET", "outcome": "success", "status_class": "2xx"}
PAGES = ("/", "/login", "/courses", "/dashboard", "/checkout")
# vital -> (median, good up to, poor above), in seconds; CLS is a score
VITALS = {
    "LCP": (1.6, 2.5, 4.0),
    "INP": (0.12, 0.2, 0.5),
    "CLS": (0.05, 0.1, 0.25),
    "FCP": (0.8, 1.8, 3.0),
    "TTFB": (0.25, 0.8, 1.8),
    "FID": (0.02, 0.1, 0.3),
}


class School:
    """Says half a second of the school's life at a time; while ``broken``, most bookings end in a 500."""

    def __init__(self, seed: int = 7) -> None:
        self.broken = False
        self._random = random.Random(seed)  # noqa: S311  # a school that looks the same each time
        self._beats = itertools.count()
        self._visits = itertools.count()

    def morning(self) -> list[Event]:
        """Give what has happened since midnight, when the sending starts later in the day."""
        return [
            _event("http_request", 5000, method="GET", route="/", status=200, duration=0.03),
            _event("http_request", method="GET", route="/", status=200, duration=0.03, kind="stream"),
            _event("user_registered", 60, channel="web", plan="trial"),
            _event("class_booked", 260, class_type="group", channel="web"),
            _event("login", 150, method="password"),
            _event("payment_attempted", 80, provider="stripe"),
            *(_paid("stripe", "standard", currency, 49 * unit, 0.8, 20) for currency, unit in CURRENCIES.items()),
        ]

    def beat(self, day: float, now: float) -> list[Event]:
        """Give the server's next half second; ``day`` is the time of day from 0 to 1, ``now`` in Unix seconds."""
        number = next(self._beats)
        # Quiet before lessons, busy in the evening, never silent.
        busy = int(8 + 10 * (1 + math.sin(2 * math.pi * (day - 0.1))))
        routes = self._random.choices([*ROUTES], [share for _, share, _ in ROUTES.values()], k=busy)
        events = [event for route in routes for event in self._request(route)]
        events += self._people()
        events += self._now_and_then(number)
        if number % 20 == 0:
            events += self._office(now)
        if number == 0:
            events.append(_event("deployment_finished"))
        return events

    def _request(self, route: str) -> Iterator[Event]:
        method, _, median = ROUTES[route]
        failed = self.broken and route == "/api/bookings" and self._random.random() < 0.8  # noqa: PLR2004  # most
        yield self._http(method, route, 500 if failed else 200, median)
        yield self._query("select", self._random.choice(("courses", "classes", "users")), 0.004)
        result = "hit" if self._random.random() < 0.95 else "miss"  # noqa: PLR2004  # a warm cache
        yield _event("cache_request", cache=self._random.choice(("session", "catalogue", "timetable")), result=result)
        if failed:
            return
        if route == "/api/bookings":
            yield self._query("insert", "bookings", 0.008)
            channel = self._random.choice(("web", "mobile"))
            yield _event("class_booked", class_type=self._random.choice(CLASSES), channel=channel)
        if route == "/api/payments":
            yield from self._payment()
        if route == "/login":
            yield _event("login", method=self._random.choice(("password", "password", "magic_link", "oauth_google")))

    def _http(self, method: str, route: str, status: int, median: float) -> Event:
        duration = self._about(median)
        event = _event("http_request", method=method, route=route, status=status, duration=duration)
        return {**event, "trace_id": f"{self._random.getrandbits(128):032x}"}  # an exemplar, as a traced server sends

    def _query(self, operation: str, table: str, median: float) -> Event:
        return _event("db_query", operation=operation, table=table, outcome="success", duration=self._about(median))

    def _payment(self) -> Iterator[Event]:
        provider = self._random.choice(PROVIDERS)
        yield _event("payment_attempted", provider=provider)
        currency, unit = self._random.choice([*CURRENCIES.items()])
        amount = self._random.choice((19, 49, 99)) * unit
        yield _paid(provider, self._random.choice(PLANS[1:]), currency, amount, self._about(0.8))

    def _people(self) -> Iterator[Event]:
        for _ in range(3):
            yield _event("user_active", user=f"user-{self._random.randrange(400)}")
        plan = self._random.choice(PLANS)
        yield _event("user_registered", channel=self._random.choice(("web", "mobile", "partner")), plan=plan)
        yield _event("audit_entry")

    def _now_and_then(self, number: int) -> Iterator[Event]:
        """Yield rare events: each every so many ticks, and all of them at the first."""
        for every, events in self._rare().items():
            if number % every == 0:
                yield from events

    def _rare(self) -> dict[int, list[Event]]:
        choice, about, kind = self._random.choice, self._about, self._random.choice(CLASSES)
        provider, priority, plan = choice(PROVIDERS), choice(PRIORITIES), choice(PLANS)
        return {
            2: [_event("http_in_flight", requests=self._random.randrange(1, 12))],
            4: [_event("class_rated", class_type=kind, rating=choice((3, 4, 4, 5, 5, 5)))],
            5: [_event("consent_decided", consent=choice(("analytics", "functional")), decision="granted")],
            10: [
                _event("ticket_opened", channel=choice(("email", "chat", "form")), priority=priority),
                _event("ticket_first_response", priority=priority, duration=about(1500)),
                _event("ticket_resolved", channel="email", priority=priority, duration=about(9000)),
                self._http("GET", "/courses/[id]", 404, 0.02),
            ],
            16: [
                _event("class_cancelled", class_type=kind, by=choice(("student", "teacher")), reason="illness"),
                _event("rate_limited", route="/api/payments", policy="payments"),
            ],
            25: [self._http("POST", "/login", 401, 0.1)],
            31: [
                _event(
                    "login_failed",
                    method="password",
                    reason="bad_credentials",
                    account=f"account-{self._random.randrange(50)}",
                ),
                _event("consent_decided", consent="marketing", decision="denied"),
            ],
            60: [
                _event("payment_attempted", provider=provider),
                _event("payment_failed", provider=provider, reason="card_declined"),
            ],
            80: [_event("db_query", operation="select", table="bookings", outcome="success", duration=0.7)],
            90: [
                _event("payment_refunded", plan=plan, currency=currency, amount=19 * unit)
                for currency, unit in CURRENCIES.items()
            ],
            100: [_event("subject_request_closed", kind=choice(("access", "erasure")), outcome="success")],
            200: [self._http("GET", "/api/classes", 503, 0.1), _event("role_granted", role="teacher")],
            600: [_event("account_locked")],
        }

    def _office(self, now: float) -> Iterator[Event]:
        """Give what jobs count and check, as they report it again and again."""
        for number, kind in enumerate(CLASSES):
            yield _event("class_seats", class_type=kind, booked=60 + 7 * number, capacity=80 + 10 * number)
        for number, priority in enumerate(PRIORITIES):
            oldest = now - self._about(1200)
            yield _event("tickets_counted", priority=priority, open=9 - 2 * number, oldest_unanswered=oldest)
        for cohort, ratio in COHORTS.items():
            yield _event("retention_measured", cohort=cohort, ratio=ratio)
        for scanner in ("dependency", "container", "sast", "tls"):
            yield _event("security_scan_finished", scanner=scanner, outcome="success")
            for severity, count in {"critical": 0, "high": 0, "medium": 2, "low": 5}.items():
                yield _event("security_findings_counted", scanner=scanner, severity=severity, open=count)
        for framework, control in itertools.product(("gdpr", "pci_dss"), CONTROLS):
            yield _event("compliance_checked", framework=framework, control=control, passing=True)
        for framework in ("gdpr", "pci_dss"):
            yield _event("compliance_audited", framework=framework)
        yield _event("subject_requests_open", kind="access", oldest=now - 3 * 86_400)
        yield _event("backup_finished", database="heypeter", outcome="success")

    def visit(self, now: float) -> dict[str, Any]:
        """Give a batch of the browser client: a page that loads, or what is done on it afterwards."""
        number = next(self._visits)
        page, session = PAGES[number // 2 % len(PAGES)], number // 6
        events = self._used(page) if number % 2 else self._loaded(page)
        if number % 40 == 1:
            events += self._mishaps(page)
        events = [{**event, "time": round(now - 0.2, 3)} for event in events]
        client = {"page_id": f"page-{number // 2}", "sequence": number % 2, "session": f"session-{session}"}
        head = {"batch_id": f"visit-{self._random.getrandbits(64)}", "sent_at": round(now, 3)}
        return {**head, "client": client, "events": events}

    def _loaded(self, page: str) -> list[Event]:
        total = self._about(1.4)
        parts = {"dom_content_loaded": 0.04 * total, "load_complete": 0.02 * total, "render": 0.4 * total}
        load = {"page": page, "navigation": "navigate", "total": total, **parts, "interactive": 0.7 * total}
        return [
            _event("session_start"),
            _event("page_load", **{name: round(v, 4) if isinstance(v, float) else v for name, v in load.items()}),
            *(self._vital(vital, page) for vital in ("LCP", "FCP", "TTFB")),
        ]

    def _used(self, page: str) -> list[Event]:
        return [
            _event("page_load", page=page, navigation="soft-navigation", total=self._about(0.3)),
            *(self._vital(vital, page) for vital in ("INP", "CLS", "FID")),
            _event("click", page=page, element=self._random.choice(("button", "link", "card"))),
            _event("form_submit", form=self._random.choice(("login", "booking", "checkout")), outcome="success"),
            _event("api_call", **{**API_CALL, "duration": self._about(0.15)}),
        ]

    def _mishaps(self, page: str) -> list[Event]:
        return [
            _event("javascript_error", page=page, kind="TypeError"),
            _event("unhandled_rejection", page=page, kind="NetworkError"),
            _event("resource_error", page=page),
            _event("csp_violation", page=page),
            _event("client_report", reason="network_error", count=1),
        ]

    def _vital(self, vital: str, page: str) -> Event:
        median, good, poor = VITALS[vital]
        value = self._about(median)
        rating = "good" if value <= good else "poor" if value > poor else "needs-improvement"
        measured = {"score": value} if vital == "CLS" else {"seconds": value}
        event = _event("web_vital", vital=vital, page=page, rating=rating, **measured)
        return {**event, "id": f"v5-{self._random.getrandbits(48)}"}

    def _about(self, median: float) -> float:
        return round(self._random.lognormvariate(math.log(median), 0.4), 4)


def _event(name: str, times: int = 1, /, **data: object) -> Event:
    return {"type": name, "data": data, **({"count": times} if times > 1 else {})}


def _paid(provider: str, plan: str, currency: str, amount: int, duration: float, times: int = 1) -> Event:
    money = {"currency": currency, "amount": amount}
    return _event("payment_completed", times, provider=provider, plan=plan, duration=duration, **money)
