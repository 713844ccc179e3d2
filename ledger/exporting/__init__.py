"""A log as a folder that an auditor verifies offline: what `counterfoil ledger export` writes and reads again."""
