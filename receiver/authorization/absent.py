"""What is said in the place of what is not there, in each language. Data, and one lookup."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.authorization.templates import language_of

# WhatsApp refuses an empty value, so each absence has its word; and so has what is left out of a text.
ABSENT: Mapping[str, Mapping[str, str]] = {
    "en": {
        "diagnosis": "no explanation in time",
        "risk": "none is stated",
        "finding": "the alert's own word",
        "summary": "no summary",
        "incident": "unnamed",
        "links": "none on record",
        "none": "none",
        "link": "[link]",
        "number": "[number]",
        "reply": "Counterfoil has nothing to say to that.",
    },
    "pt": {
        "diagnosis": "sem explicação a tempo",
        "risk": "nenhum indicado",
        "finding": "a palavra do próprio alerta",
        "summary": "sem resumo",
        "incident": "sem nome",
        "links": "nenhum registado",
        "none": "nenhuma",
        "link": "[ligação]",
        "number": "[número]",
        "reply": "O Counterfoil não tem nada a dizer a isso.",
    },
    "fr": {
        "diagnosis": "pas d'explication à temps",
        "risk": "aucun indiqué",
        "finding": "la parole de l'alerte même",
        "summary": "pas de résumé",
        "incident": "sans nom",
        "links": "aucune enregistrée",
        "none": "aucune",
        "link": "[lien]",
        "number": "[numéro]",
        "reply": "Counterfoil n'a rien à dire à cela.",
    },
}


def absent(language: str) -> Mapping[str, str]:
    """The words of a person's language, by the name of what is absent."""
    return ABSENT[language_of(language)]
