"""The message templates, in each language: what WhatsApp approves once and every message is made of. Pure.

Two of them stand for every message: the question, which has buttons, and the notice, whose one line of text the
governor writes in the person's own language. Whoever begins has two texts a language to get approved, and not one for
each kind of news; contrib/decisions/two-templates.md says why.

A change of words here needs a new number in the stem: what stands at Twilio under the old name keeps its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

BODY_UNITS = 1024  # WhatsApp's limit for a quick reply's body, after substitution
TOKEN_CHARACTERS = 40
LANGUAGES = ("en", "pt", "fr")  # of people; the first is for everybody whose language is not among them
# WhatsApp has no plain Portuguese: https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates/supported-languages
CARRIER_LANGUAGES: Mapping[str, str] = {"en": "en", "pt": "pt_PT", "fr": "fr"}
CATEGORY = "UTILITY"  # of all templates: what somebody asked to be told, and no advertisement


@dataclass(frozen=True, slots=True)
class Button:
    title: str  # at most 20 characters: the limit of a button within a session
    verb: str


@dataclass(frozen=True, slots=True)
class Template:
    """One message template. `names[i]` is the meaning of the variable {{i+1}}; "token" stands in button ids alone.

    language: of people, "pt". WhatsApp's rules are held by `linting.problems`.
    """

    stem: str
    language: str
    body: str
    names: tuple[str, ...]
    limits: Mapping[str, int]  # UTF-16 units a value may have
    samples: Mapping[str, str]
    buttons: tuple[Button, ...] = ()

    @property
    def friendly_name(self) -> str:
        return f"{self.stem}_{self.language}"

    @property
    def carrier_language(self) -> str:
        """The language as Twilio and WhatsApp name it."""
        return CARRIER_LANGUAGES[self.language]

    def types(self) -> dict[str, object]:
        """The `types` of Twilio's Content API: the text, and the same text with buttons where there are any."""
        types: dict[str, object] = {"twilio/text": {"body": self.body}}
        if self.buttons:
            number = self.names.index("token") + 1
            types["twilio/quick-reply"] = {
                "body": self.body,
                "actions": [
                    {"type": "QUICK_REPLY", "title": button.title, "id": f"{button.verb}.{{{{{number}}}}}"}
                    for button in self.buttons
                ],
            }
        return types

    def numbered(self, values: Mapping[str, str]) -> dict[str, str]:
        return {str(number): values[name] for number, name in enumerate(self.names, start=1)}

    def sample_variables(self) -> dict[str, str]:
        return self.numbered(self.samples)


_OPENED_NAMES = (
    *("incident", "summary", "finding", "diagnosis", "action", "risk", "links", "page"),
    *("expires", "code", "code", "reference", "token"),
)
_OPENED_LIMITS: Mapping[str, int] = {
    "incident": 80,
    "summary": 140,
    "finding": 100,
    "diagnosis": 240,
    "action": 110,
    "risk": 100,
    "links": 120,
    "page": 100,
    "expires": 24,
    "code": 8,
    "reference": 40,
    "token": TOKEN_CHARACTERS,
}
_OPENED_SAMPLES: Mapping[str, str] = {
    "incident": "checkout-errors checkout",
    "finding": "error_ratio 0.31 >= 0.05",
    "links": "https://runbooks.example.org/checkout",
    "page": "https://counterfoil.example.org/q/12-q5x3k2hc7m4nwzsjv6ytr2dp",
    "code": "7K3P",
    "reference": "inc-7f3a9c0012",
    "token": "12-q5x3k2hc7m4nwzsjv6ytr2dpga",
}

OPENED = Template(
    stem="counterfoil_opened_v1",
    language="en",
    body=(
        "*Incident* “{{1}}”\n"
        "The alert says: “{{2}}”\n"
        "Policy found: “{{3}}”\n"
        "Claude thinks: “{{4}}”\n"
        "\n"
        "*Proposed action:* {{5}}.\n"
        "Risk: {{6}}.\n"
        "Runbook: {{7}}\n"
        "All of it: {{8}}\n"
        "Nothing is done unless you approve before {{9}}.\n"
        "\n"
        "Tap a button, or reply *A {{10}}* to approve or *R {{11}}* to reject.\n"
        "Reference {{12}}, sent by Counterfoil."
    ),
    names=_OPENED_NAMES,
    limits=_OPENED_LIMITS,
    samples={
        **_OPENED_SAMPLES,
        "summary": "Every third request to checkout fails",
        "diagnosis": "The errors began with the deployment at 10:02",
        "action": "restart the checkout service",
        "risk": "requests in flight are lost",
        "expires": "10:21 CAT",
    },
    buttons=(Button("Approve", "approve"), Button("Reject", "reject"), Button("On it", "onit")),
)

OPENED_PT = Template(
    stem="counterfoil_opened_v1",
    language="pt",
    body=(
        "*Incidente* “{{1}}”\n"
        "O alerta diz: “{{2}}”\n"
        "A política constatou: “{{3}}”\n"
        "O Claude pensa: “{{4}}”\n"
        "\n"
        "*Ação proposta:* {{5}}.\n"
        "Risco: {{6}}.\n"
        "Manual: {{7}}\n"
        "Tudo sobre isto: {{8}}\n"
        "Nada é feito se não aprovar antes das {{9}}.\n"
        "\n"
        "Toque num botão, ou responda *A {{10}}* para aprovar ou *R {{11}}* para rejeitar.\n"
        "Referência {{12}}, enviado pelo Counterfoil."
    ),
    names=_OPENED_NAMES,
    limits=_OPENED_LIMITS,
    samples={
        **_OPENED_SAMPLES,
        "summary": "Um em cada três pedidos ao checkout falha",
        "diagnosis": "Os erros começaram com a atualização das 10:02",
        "action": "reiniciar o serviço checkout",
        "risk": "perdem-se os pedidos em curso",
        "expires": "10:21 CAT",
    },
    buttons=(Button("Aprovar", "approve"), Button("Rejeitar", "reject"), Button("Estou a tratar", "onit")),
)

OPENED_FR = Template(
    stem="counterfoil_opened_v1",
    language="fr",
    body=(
        "*Incident* “{{1}}”\n"
        "L'alerte dit : “{{2}}”\n"
        "La politique constate : “{{3}}”\n"
        "Claude pense : “{{4}}”\n"
        "\n"
        "*Action proposée :* {{5}}.\n"
        "Risque : {{6}}.\n"
        "Procédure : {{7}}\n"
        "Tout le détail : {{8}}\n"
        "Rien n'est fait si vous n'approuvez pas avant {{9}}.\n"
        "\n"
        "Touchez un bouton, ou répondez *A {{10}}* pour approuver ou *R {{11}}* pour rejeter.\n"
        "Référence {{12}}, envoyé par Counterfoil."
    ),
    names=_OPENED_NAMES,
    limits=_OPENED_LIMITS,
    samples={
        **_OPENED_SAMPLES,
        "summary": "Une requête sur trois vers checkout échoue",
        "diagnosis": "Les erreurs ont commencé avec le déploiement de 10:02",
        "action": "redémarrer le service checkout",
        "risk": "les requêtes en cours sont perdues",
        "expires": "10:21 CAT",
    },
    buttons=(Button("Approuver", "approve"), Button("Rejeter", "reject"), Button("Je m'en occupe", "onit")),
)

_NOTICE_NAMES = ("text", "reference")
_NOTICE_LIMITS: Mapping[str, int] = {"text": 700, "reference": 40}

NOTICE = Template(
    stem="counterfoil_notice_v1",
    language="en",
    body="*Counterfoil:* {{1}}\nReference {{2}}. Reply STATUS to see what is open, or HALT to stop every action.",
    names=_NOTICE_NAMES,
    limits=_NOTICE_LIMITS,
    samples={"text": "Policy declares that checkout has recovered.", "reference": "inc-7f3a9c0012"},
)

NOTICE_PT = Template(
    stem="counterfoil_notice_v1",
    language="pt",
    body=(
        "*Counterfoil:* {{1}}\n"
        "Referência {{2}}. Responda STATUS para ver o que está aberto, ou HALT para parar todas as ações."
    ),
    names=_NOTICE_NAMES,
    limits=_NOTICE_LIMITS,
    samples={"text": "A política declara que o checkout recuperou.", "reference": "inc-7f3a9c0012"},
)

NOTICE_FR = Template(
    stem="counterfoil_notice_v1",
    language="fr",
    body=(
        "*Counterfoil :* {{1}}\n"
        "Référence {{2}}. Répondez STATUS pour voir ce qui est ouvert, ou HALT pour arrêter toutes les actions."
    ),
    names=_NOTICE_NAMES,
    limits=_NOTICE_LIMITS,
    samples={"text": "La politique déclare que checkout est rétabli.", "reference": "inc-7f3a9c0012"},
)

TEMPLATES = (OPENED, OPENED_PT, OPENED_FR, NOTICE, NOTICE_PT, NOTICE_FR)

# What a question says of its buttons, and what is left of that where it has none.
_TAPS = (
    ("Tap a button, or reply", "Reply"),
    ("Toque num botão, ou responda", "Responda"),
    ("Touchez un bouton, ou répondez", "Répondez"),
)


def without_buttons(template: Template) -> Template:
    """The same question with its text codes alone, for who cannot be told of a tap; under a name of its own."""
    if not template.buttons:
        return template
    body = template.body
    for before, after in _TAPS:
        body = body.replace(before, after)
    names = tuple(name for name in template.names if name != "token")
    return replace(template, stem=f"{template.stem}_text", body=body, names=names, buttons=())


def templates_for(*, buttons: bool) -> tuple[Template, ...]:
    """Every template that is sent where a tap can reach the service, or where text codes alone can."""
    return TEMPLATES if buttons else tuple(without_buttons(template) for template in TEMPLATES)


def language_of(language: str) -> str:
    """The one of LANGUAGES that somebody with `language` reads: "pt_BR" reads "pt"; the first where there is none."""
    base = language.partition("_")[0]
    return base if base in LANGUAGES else LANGUAGES[0]


def template_for(stem: str, language: str) -> Template:
    """The template in the language that `language_of` gives. Raises LookupError for a stem that is not ours."""
    wanted = language_of(language)
    for template in TEMPLATES:
        if (template.stem, template.language) == (stem, wanted):
            return template
    raise LookupError(f"no template {stem} in {wanted}")
