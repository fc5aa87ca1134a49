"""The clients that applications copy: Node, browsers and Python."""
