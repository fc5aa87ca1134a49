"""Everything between a request and its viewer: sign-in, sessions, tokens, roles, and what other sites may not do."""
