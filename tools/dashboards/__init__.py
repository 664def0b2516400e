"""Makes Grafana's dashboards, Prometheus' rules and alerts, and the page of alerts, from one description of each."""
