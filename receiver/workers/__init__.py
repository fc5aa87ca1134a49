"""The loops: each is run() around run_once(), named after its one duty; imports clients, messages and store.base."""
