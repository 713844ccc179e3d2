"""What a call says, in the language of the person who is called. Pure: variables in, sentences out.

A call is short: what is wrong, what would be done at which risk, and how to answer. Claude's words and the alert's
summary are left to what can be read. The code is said, since a call is what remains where no message arrives; so it is
said only once a person has answered, never to a machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from receiver.authorization.wording import clean

TEXT_UNITS = 400  # of one value: about half a minute
_PLACES = {"en": "en-GB", "pt": "pt-PT", "fr": "fr-FR"}  # languages as <Say> names them; the first for all others
_OPERATORS = re.compile(r">=|<=|==|!=|>|<")


@dataclass(frozen=True, slots=True)
class Speech:
    """Every sentence of one language. `{…}` is filled in."""

    greeting: str
    incident: str
    action: str
    answer: str
    operators: Mapping[str, str]
    approved: str
    rejected: str
    on_it: str
    pin: str
    wrong_code: str
    not_counted: str
    later: str
    misheard: str
    closed: str
    goodbye: str
    takes_none: str


ENGLISH = Speech(
    greeting="This is Counterfoil. Press any key to hear about an incident.",
    incident="Counterfoil. Incident: {incident}. Policy found: {finding}.",
    action="Proposed action: {action}. Risk: {risk}. Nothing is done unless you approve before {expires}.",
    answer=(
        "Your code for this question is {code}. To approve, press 1 and then the code. To reject, press 2 and then the "
        "code. To say that you are on it, press 3 and then the code."
    ),
    operators={
        ">=": "at or above",
        "<=": "at or below",
        "==": "equal to",
        "!=": "not equal to",
        ">": "above",
        "<": "below",
    },
    approved="Your approval is counted.",
    rejected="Rejected. Nothing runs.",
    on_it="Noted: you are on it. It authorizes nothing.",
    pin="This needs your PIN. Send it in the chat, within five minutes.",
    wrong_code="That is not the code of this question.",
    not_counted="That does not count any more.",
    later="I have heard you. A message will say what came of it.",
    misheard="That was not one key and six digits.",
    closed="This question is closed.",
    goodbye="Goodbye.",
    takes_none="This number calls people about incidents. It takes no calls.",
)
PORTUGUESE = Speech(
    greeting="Aqui fala Counterfoil. Prima qualquer tecla para ouvir um incidente.",
    incident="Counterfoil. Incidente: {incident}. A política verificou: {finding}.",
    action="Ação proposta: {action}. Risco: {risk}. Nada é feito se não aprovar antes das {expires}.",
    answer=(
        "O seu código para esta pergunta é {code}. Para aprovar, prima 1 e depois o código. Para rejeitar, prima 2 e "
        "depois o código. Para dizer que está a tratar disso, prima 3 e depois o código."
    ),
    operators={
        ">=": "igual ou superior a",
        "<=": "igual ou inferior a",
        "==": "igual a",
        "!=": "diferente de",
        ">": "superior a",
        "<": "inferior a",
    },
    approved="A sua aprovação conta.",
    rejected="Rejeitado. Nada será executado.",
    on_it="Anotado: está a tratar disso. Isso não autoriza nada.",
    pin="Isto precisa do seu PIN. Envie-o na conversa, dentro de cinco minutos.",
    wrong_code="Esse não é o código desta pergunta.",
    not_counted="Isso já não conta.",
    later="Ouvi a sua resposta. Uma mensagem dirá o resultado.",
    misheard="Isso não foi uma tecla e seis algarismos.",
    closed="Esta pergunta está encerrada.",
    goodbye="Adeus.",
    takes_none="Este número liga a pessoas por causa de incidentes. Não recebe chamadas.",
)
FRENCH = Speech(
    greeting="Ici Counterfoil. Appuyez sur une touche pour entendre un incident.",
    incident="Counterfoil. Incident : {incident}. La politique a constaté : {finding}.",
    action="Action proposée : {action}. Risque : {risk}. Rien ne sera fait si vous n'approuvez pas avant {expires}.",
    answer=(
        "Votre code pour cette question est {code}. Pour approuver, tapez 1 puis le code. Pour refuser, tapez 2 puis "
        "le code. Pour dire que vous vous en occupez, tapez 3 puis le code."
    ),
    operators={
        ">=": "supérieur ou égal à",
        "<=": "inférieur ou égal à",
        "==": "égal à",
        "!=": "différent de",
        ">": "supérieur à",
        "<": "inférieur à",
    },
    approved="Votre approbation est comptée.",
    rejected="Refusé. Rien ne sera exécuté.",
    on_it="Noté : vous vous en occupez. Cela n'autorise rien.",
    pin="Il faut votre code PIN. Envoyez-le dans la conversation, dans les cinq minutes.",
    wrong_code="Ce n'est pas le code de cette question.",
    not_counted="Cela ne compte plus.",
    later="J'ai entendu votre réponse. Un message dira ce qu'il en est.",
    misheard="Ce n'était pas une touche et six chiffres.",
    closed="Cette question est close.",
    goodbye="Au revoir.",
    takes_none="Ce numéro appelle des personnes pour des incidents. Il ne prend pas d'appels.",
)
_SPEECHES = {"en": ENGLISH, "pt": PORTUGUESE, "fr": FRENCH}


def speech_for(language: str) -> Speech:
    """The sentences of a person's language ("pt_BR" is Portuguese), English where there are none."""
    return _SPEECHES.get(language[:2], ENGLISH)


def spoken_languages() -> tuple[str, ...]:
    return tuple(_SPEECHES)


def voice_for(language: str) -> str:
    """The language as Twilio's <Say> names it: "pt-BR" for "pt_BR", "en-GB" for what is not known."""
    stem = language[:2]
    if stem not in _SPEECHES:
        return _PLACES["en"]
    return language.replace("_", "-") if "_" in language else _PLACES[stem]


def question(variables: Mapping[str, str], language: str) -> str:
    """What is wrong, what is proposed, and the code by which this person answers. variables: with `code` in digits."""
    words = speech_for(language)
    said = {name: spoken(text, language) for name, text in variables.items() if name != "code"}
    said |= {name: said.get(name) or "-" for name in ("incident", "finding", "action", "risk", "expires")}
    told = [words.incident.format(**said), words.action.format(**said)]
    return " ".join([*told, words.answer.format(code=", ".join(variables["code"]))])


def notice(variables: Mapping[str, str], language: str) -> str:
    return f"Counterfoil. {spoken(variables.get('text', ''), language)}"


def spoken(text: str, language: str) -> str:
    """`text` without what is only for the eye: links, markup, and signs of comparison, which become words."""
    words = speech_for(language)
    cleaned = _OPERATORS.sub(lambda sign: f" {words.operators[sign[0]]} ", clean(text, TEXT_UNITS, language))
    return " ".join(cleaned.replace("_", " ").replace("\u02cd", " ").replace("=", " ").split()).rstrip(" .")
