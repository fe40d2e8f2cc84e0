"""Fakes that are shipped: a simulated cluster, a lossy network, playbooks for machines."""
