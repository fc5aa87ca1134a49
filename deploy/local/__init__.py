"""What runs the product on one machine: the environment, the fetched programs, the launcher and its demo."""
