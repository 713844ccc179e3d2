"""What an auditor looks for, decided again from the entries alone, without the database's own rules. Pure.

`Examiner` takes a log entry by entry; `findings` is the same for a list.
"""

from ledger.findings.examiner import Examiner, findings
from ledger.findings.finding import HARMLESS, RULES, Finding, in_order

__all__ = ["HARMLESS", "RULES", "Examiner", "Finding", "findings", "in_order"]
