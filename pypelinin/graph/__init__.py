"""What should run: jobs, their order, and a digest that tells two definitions apart."""
