"""Go's text/template, as chat templates use it (contracts, models sheet 2): parsed once, rendered often, on a budget."""
