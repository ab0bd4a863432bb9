"""Methods side by side: trained on one budget, scored by one protocol, reported with their costs."""
