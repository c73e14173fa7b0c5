"""Prometheus's and Grafana's files, and what makes the dashboards."""
