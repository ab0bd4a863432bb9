"""SIR, AIR and SemLTE: from features and meaning to values at any point."""
