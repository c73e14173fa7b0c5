"""aikit's `v1alpha1` manifests, and the LocalAI model configs in them (contracts, models sheet 1)."""
