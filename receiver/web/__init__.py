"""HTTP: webhooks and answers in, the API and the pages out; imports messages, store.base and the pure rooms."""
