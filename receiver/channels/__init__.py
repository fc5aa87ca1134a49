"""One file a channel: its settings, its build() and one attempt to send; imports incident."""
