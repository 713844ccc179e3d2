"""The page behind the link of a question: the whole incident for one person, on a slow phone, without scripts. Pure.

A few kilobytes of one document, which loads nothing. Everything in it is text of the ledger, cleaned and escaped; what
names the action and its risk comes from the configuration.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

from receiver.authorization.templates import language_of

BYTES_MAX = 16_384  # of a page, whatever an alert or the model wrote
LINE_UNITS = 240  # of one line of it
ALERTS_MAX, CLAIMS_MAX, HISTORY_MAX = 8, 5, 12

CSS = (
    ":root{color-scheme:light dark}body{margin:0;font:17px/1.45 system-ui,sans-serif}main{max-width:38rem;margin:auto;"
    "padding:1rem;overflow-wrap:anywhere}h1{font-size:1.3rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.2rem 0 .3rem}"
    "p{margin:.3rem 0}dl{margin:.6rem 0}dt{opacity:.7;font-size:.85rem;margin-top:.4rem}dd{margin:0}ul,ol{margin:0;"
    "padding-left:1.2rem}li{margin:.25rem 0}form{border:2px solid;border-radius:.6rem;padding:.2rem .9rem .9rem;"
    "margin:1rem 0}fieldset{border:0;padding:0;margin:.6rem 0}label{display:block;padding:.45rem 0}input[name=code]{"
    "font:600 1.2rem ui-monospace,monospace;padding:.5rem;text-transform:uppercase}button{font:600 1.05rem system-ui,"
    "sans-serif;padding:.7rem 1.4rem;border-radius:.5rem;border:2px solid}.said{border-left:.4rem solid #2a7d46;"
    "padding:.6rem .8rem;font-weight:600}.bad{border-color:#b3261e}.off{position:absolute;left:-99rem}"
    "footer{opacity:.7;font-size:.8rem;margin-top:1.5rem}"
)
_STYLE = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
# Nothing is kept, told to others, framed, indexed or loaded: https://developer.mozilla.org/docs/Web/HTTP/Headers
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}

_ENGLISH = {
    "finding": "Policy found",
    "state": "State",
    "opened": "Opened",
    "diagnosis": "Claude thinks",
    "falsified": "What would prove that wrong",
    "action": "Proposed action",
    "risk": "Risk",
    "params": "With",
    "expires": "Nothing is done unless approved before",
    "people": "Who may approve",
    "approved": "Approved so far",
    "digest": "Digest of the exact request",
    "claude": "What Claude rests that on",
    "alerts": "Alerts",
    "history": "What was decided",
    "decide": "Your decision",
    "approve": "Approve",
    "reject": "Reject",
    "onit": "On it: holds the ladder, authorizes nothing",
    "code": "Your code, from the message",
    "send": "Send",
    "said approve": "Your approval is counted.",
    "said reject": "Rejected. Nothing runs.",
    "said onit": "Noted: you are on it. It authorizes nothing.",
    "said pin": "This needs your PIN: send it in the chat, within five minutes.",
    "said drill": "It arrived. This is a drill: nothing runs. A message says what it would have been.",
    "said later": "Received. A message will say what came of it.",
    "wrong code": "That is not your code for this question.",
    "locked": "Too many wrong codes. Tap the buttons in the message, or wait an hour.",
    "closed": "This question is closed. Reply STATUS in the chat for what is open.",
    "unknown": "There is nothing here.",
    "incomplete": "Choose one of the three, and type your code.",
    "used": "This form was used already. Here is a new one.",
    "not counted": "That does not count.",
    "yours": "You have approved this already.",
    "later": "Try again in a minute.",
}
_PORTUGUESE = {
    "finding": "A política constatou",
    "state": "Estado",
    "opened": "Aberto",
    "diagnosis": "O Claude pensa",
    "falsified": "O que o desmentiria",
    "action": "Ação proposta",
    "risk": "Risco",
    "params": "Com",
    "expires": "Nada é feito se não for aprovado antes das",
    "people": "Quem pode aprovar",
    "approved": "Já aprovado por",
    "digest": "Resumo do pedido exato",
    "claude": "Em que o Claude se baseia",
    "alerts": "Alertas",
    "history": "O que foi decidido",
    "decide": "A sua decisão",
    "approve": "Aprovar",
    "reject": "Rejeitar",
    "onit": "Estou a tratar: mais ninguém é chamado, não autoriza nada",
    "code": "O seu código, da mensagem",
    "send": "Enviar",
    "said approve": "A sua aprovação conta.",
    "said reject": "Rejeitado. Nada será executado.",
    "said onit": "Anotado: está a tratar. Não autoriza nada.",
    "said pin": "Isto precisa do seu PIN: envie-o na conversa, dentro de cinco minutos.",
    "said drill": "Chegou. Isto é um exercício: nada corre. Uma mensagem diz o que teria sido.",
    "said later": "Recebido. Uma mensagem dirá o resultado.",
    "wrong code": "Esse não é o seu código para esta pergunta.",
    "locked": "Demasiados códigos errados. Use os botões da mensagem, ou espere uma hora.",
    "closed": "Esta pergunta está encerrada. Responda STATUS na conversa para ver o que está aberto.",
    "unknown": "Não há nada aqui.",
    "incomplete": "Escolha uma das três e escreva o seu código.",
    "used": "Este formulário já foi usado. Eis um novo.",
    "not counted": "Isso não conta.",
    "yours": "Já aprovou isto.",
    "later": "Tente de novo dentro de um minuto.",
}
_FRENCH = {
    "finding": "La politique constate",
    "state": "État",
    "opened": "Ouvert",
    "diagnosis": "Claude pense",
    "falsified": "Ce qui le démentirait",
    "action": "Action proposée",
    "risk": "Risque",
    "params": "Avec",
    "expires": "Rien n'est fait sans approbation avant",
    "people": "Qui peut approuver",
    "approved": "Déjà approuvé par",
    "digest": "Empreinte de la requête exacte",
    "claude": "Sur quoi Claude se fonde",
    "alerts": "Alertes",
    "history": "Ce qui a été décidé",
    "decide": "Votre décision",
    "approve": "Approuver",
    "reject": "Rejeter",
    "onit": "Je m'en occupe : personne d'autre n'est appelé, n'autorise rien",
    "code": "Votre code, dans le message",
    "send": "Envoyer",
    "said approve": "Votre approbation est comptée.",
    "said reject": "Rejeté. Rien ne sera exécuté.",
    "said onit": "Noté : vous vous en occupez. Cela n'autorise rien.",
    "said pin": "Il faut votre code PIN : envoyez-le dans la conversation, dans les cinq minutes.",
    "said drill": "C'est arrivé. Ceci est un exercice : rien n'est exécuté. Un message dit ce que cela aurait été.",
    "said later": "Reçu. Un message dira ce qu'il en est.",
    "wrong code": "Ce n'est pas votre code pour cette question.",
    "locked": "Trop de codes erronés. Utilisez les boutons du message, ou attendez une heure.",
    "closed": "Cette question est close. Répondez STATUS dans la conversation pour voir ce qui est ouvert.",
    "unknown": "Il n'y a rien ici.",
    "incomplete": "Choisissez l'une des trois et saisissez votre code.",
    "used": "Ce formulaire a déjà servi. En voici un nouveau.",
    "not counted": "Cela ne compte pas.",
    "yours": "Vous l'avez déjà approuvé.",
    "later": "Réessayez dans une minute.",
}
WORDS: Mapping[str, Mapping[str, str]] = {"en": _ENGLISH, "pt": _PORTUGUESE, "fr": _FRENCH}


@dataclass(frozen=True, slots=True)
class QuestionView:
    """What one person is shown of one question, and whether they may answer it now.

    facts: (key of WORDS, text). open: the question is outstanding. asked: this person may answer it and has not
    approved. locked: too many wrong codes of theirs, of late.
    """

    person: str
    language: str
    reference: str
    title: str
    summary: str
    facts: Sequence[tuple[str, str]]
    claims: Sequence[str]
    action: str
    risk: str
    alerts: Sequence[str]
    history: Sequence[str]
    open: bool
    asked: bool
    locked: bool


def words_of(language: str) -> Mapping[str, str]:
    return WORDS[language_of(language)]


def read_by(accepted: str) -> str:
    """The language of whoever asks for a page of which nobody is known. accepted: Accept-Language, "pt-PT,fr;q=0.8"."""
    given = (part.partition(";")[0].strip().lower().partition("-")[0] for part in accepted[:200].split(","))
    return next((language for language in given if language in WORDS), language_of(""))


def render(language: str, view: QuestionView | None, *, said: str = "", good: bool = False, form: str = "") -> str:
    """The document. said: a key of WORDS that stands on top. form: of the fields by which one decides; "" for none."""
    words = words_of(language)
    return _template().render(
        language=language_of(language),
        css=Markup(CSS),  # noqa: S704 - it is ours, and its hash stands in the header
        view=view,
        words=words,
        said=words[said] if said else "",
        good=good,
        form=form,
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(resources.files(__package__).joinpath("page.html").read_text("utf-8"))
