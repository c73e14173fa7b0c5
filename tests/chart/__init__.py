"""The Helm chart as Helm renders it, but for Helm: our own Go templates and the functions that the chart uses."""
