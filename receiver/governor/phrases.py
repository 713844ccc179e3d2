"""Every sentence of ours that the governor says to people, in each language, side by side. Data, and one lookup.

Values are put in as they are: the carrier cleans and clips them. A sentence says the same in each language, with the
same values; a test holds that, and a language that lacks one is a failing test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.entry import MAX_INTEGER, Entry
from policy_rules.reasons import Why
from receiver.authorization.templates import language_of
from receiver.governor.cause_phrases import CAUSES
from receiver.governor.look_phrases import LOOKS
from receiver.governor.reason_phrases import OF_POLICY, REASONS
from receiver.governor.reply_phrases import REPLIES
from receiver.governor.run_phrases import RUNS
from receiver.governor.word_phrases import WORDS
from receiver.papers import Words

PHRASES: Mapping[str, Mapping[str, str]] = {
    **REPLIES,
    **WORDS,
    **CAUSES,
    **LOOKS,
    **RUNS,
    **REASONS,
    # --- what Claude says, or why it says nothing ---
    "diagnosis": {
        "en": "{summary} (model's own confidence {confidence})",
        "pt": "{summary} (confiança do próprio modelo {confidence})",
        "fr": "{summary} (confiance du modèle lui-même {confidence})",
    },
    "diagnosis worth": {
        "en": "{summary} (model's own confidence {confidence}; {confirmed} of {tried} earlier ones confirmed)",
        "pt": "{summary} (confiança do próprio modelo {confidence}; {confirmed} de {tried} anteriores confirmados)",
        "fr": "{summary} (confiance du modèle lui-même {confidence} ; {confirmed} sur {tried} précédents confirmés)",
    },
    "no diagnosis": {
        "en": "no diagnosis: {why}",
        "pt": "sem diagnóstico: {why}",
        "fr": "pas de diagnostic : {why}",
    },
    "by hand": {
        "en": "none: {by} asks for this by hand",
        "pt": "nenhum: {by} pede isto por iniciativa própria",
        "fr": "aucun : {by} le demande de sa propre initiative",
    },
    "diagnosis pending": {
        "en": "no diagnosis yet: it is still being made",
        "pt": "ainda sem diagnóstico: está a ser feito",
        "fr": "pas encore de diagnostic : il est en cours",
    },
    # --- what moved first, for the same place where no model answers ---
    "moved first": {
        "en": "; what moved first: {moved}",
        "pt": "; o que se moveu primeiro: {moved}",
        "fr": " ; ce qui a bougé en premier : {moved}",
    },
    "nothing moved": {
        "en": "; nothing was found that moved",
        "pt": "; nada se encontrou que se tenha movido",
        "fr": " ; rien n'a bougé, à ce qu'on voit",
    },
    "minutes before": {"en": ", {minutes} min before", "pt": ", {minutes} min antes", "fr": ", {minutes} min avant"},
    "minutes after": {"en": ", {minutes} min after", "pt": ", {minutes} min depois", "fr": ", {minutes} min après"},
    "as it opened": {"en": ", as it opened", "pt": ", ao abrir", "fr": ", à l'ouverture"},
    # --- the question, and who must answer it ---
    "quorum": {
        "en": "{title} ({quorum} people must approve{levels})",
        "pt": "{title} ({quorum} pessoas têm de aprovar{levels})",
        "fr": "{title} ({quorum} personnes doivent approuver{levels})",
    },
    "level": {
        "en": ", {quorum} of them of {names}",
        "pt": ", {quorum} delas entre {names}",
        "fr": ", dont {quorum} parmi {names}",
    },
    "approved so far": {
        "en": "{names} approved {title}. {missing}",
        "pt": "{names} aprovou {title}. {missing}",
        "fr": "{names} a approuvé {title}. {missing}",
    },
    "approved by": {
        "en": "{title}; approved by {names}",
        "pt": "{title}; aprovado por {names}",
        "fr": "{title} ; approuvé par {names}",
    },
    "missing": {
        "en": "{missing} more of {names} must approve.",
        "pt": "Falta a aprovação de mais {missing} entre {names}.",
        "fr": "Il manque l'accord de {missing} autre(s) parmi {names}.",
    },
    "missing level": {
        "en": "Of {names} {quorum} must approve.",
        "pt": "Entre {names}, {quorum} têm de aprovar.",
        "fr": "Parmi {names}, {quorum} doivent approuver.",
    },
    "tried": {
        "en": "{finding}. Tried without effect: {titles}",
        "pt": "{finding}. Tentado sem efeito: {titles}",
        "fr": "{finding}. Essayé sans effet : {titles}",
    },
    "asked": {
        "en": "{headline} Asked to approve: {names}.",
        "pt": "{headline} Pedida a aprovação a: {names}.",
        "fr": "{headline} Accord demandé à : {names}.",
    },
    "nothing proposed": {
        "en": "{headline} {diagnosis} Nothing can be proposed: {why}.",
        "pt": "{headline} {diagnosis} Nada pode ser proposto: {why}.",
        "fr": "{headline} {diagnosis} Rien ne peut être proposé : {why}.",
    },
    "no action": {
        "en": "the policy names no action",
        "pt": "a política não indica nenhuma ação",
        "fr": "la politique ne prévoit aucune action",
    },
    # --- while nobody has decided ---
    "escalated": {
        "en": "{headline} Open for {span}, since {since}, and nobody has decided.",
        "pt": "{headline} Aberto há {span}, desde as {since}, e ninguém decidiu.",
        "fr": "{headline} Ouvert depuis {span}, depuis {since}, et personne n'a décidé.",
    },
    "unreached": {
        "en": "{escalated} None of those who were called before could be reached.",
        "pt": "{escalated} Nenhuma das pessoas chamadas antes pôde ser contactada.",
        "fr": "{escalated} Aucune des personnes appelées avant n'a pu être jointe.",
    },
    "reminder": {
        "en": "Still open for {span}, since {since}: {headline}",
        "pt": "Continua aberto há {span}, desde as {since}: {headline}",
        "fr": "Toujours ouvert depuis {span}, depuis {since} : {headline}",
    },
    "in doubt": {
        "en": "{reminder} {title}: it is not known whether it ran. Look, then send RAN {id} or DIDNOT {id}; or "
        "WRITEOFF {id} and why, if nobody can tell.",
        "pt": "{reminder} {title}: não se sabe se correu. Veja, e depois envie RAN {id} (correu) ou DIDNOT {id} "
        "(não correu); ou WRITEOFF {id} e porquê, se ninguém souber.",
        "fr": "{reminder} {title} : on ne sait pas si elle a été exécutée. Regardez, puis envoyez RAN {id} "
        "(exécutée) ou DIDNOT {id} (non) ; ou WRITEOFF {id} et pourquoi, si nul ne sait.",
    },
    "digest": {
        "en": "There are {count} more incidents: reply STATUS for what is open, DETAIL and an id for one of them and "
        "its question.",
        "pt": "Há mais {count} incidentes: responda STATUS para o que está aberto, DETAIL e um id para ver um deles e "
        "a sua pergunta.",
        "fr": "Encore {count} incidents : répondez STATUS pour ce qui est ouvert, DETAIL et un id pour l'un d'eux et "
        "sa question.",
    },
    "digest of news": {
        "en": "There is more news: reply STATUS for what is open, DETAIL and an id for one of them and its question.",
        "pt": "Há mais notícias: responda STATUS para o que está aberto, DETAIL e um id para um deles e a pergunta.",
        "fr": "Il y a du nouveau : répondez STATUS pour ce qui est ouvert, DETAIL et un id pour l'un et sa question.",
    },
    # --- what became of it ---
    "the action": {"en": "the action", "pt": "a ação", "fr": "l'action"},
    "DISPATCHED": {
        "en": "{incident}: {action}: already approved by {by}, it runs now. Policy will say whether it helped.",
        "pt": "{incident}: {action}: já aprovado por {by}, está a correr. A política dirá se ajudou.",
        "fr": "{incident} : {action} : déjà approuvé par {by}, en cours. La politique dira si cela a aidé.",
    },
    "REJECTED": {
        "en": "{incident}: {action}: already rejected by {by}. Nothing runs. Policy keeps watching.",
        "pt": "{incident}: {action}: já rejeitado por {by}. Nada corre. A política continua a vigiar.",
        "fr": "{incident} : {action} : déjà rejeté par {by}. Rien ne s'exécute. La politique continue de veiller.",
    },
    "EXPIRED": {
        "en": "{incident}: {action}: nobody decided in time. Nothing ran.",
        "pt": "{incident}: {action}: ninguém decidiu a tempo. Nada correu.",
        "fr": "{incident} : {action} : personne n'a décidé à temps. Rien n'a été exécuté.",
    },
    "WITHDRAWN": {
        "en": "{incident}: {action}: the question is withdrawn ({reason}). Nothing runs.",
        "pt": "{incident}: {action}: a pergunta foi retirada ({reason}). Nada corre.",
        "fr": "{incident} : {action} : la question est retirée ({reason}). Rien ne s'exécute.",
    },
    "VOIDED": {
        "en": "{incident}: {action}: the authorization is void ({reason}). Nothing runs.",
        "pt": "{incident}: {action}: a autorização ficou sem efeito ({reason}). Nada corre.",
        "fr": "{incident} : {action} : l'autorisation est caduque ({reason}). Rien ne s'exécute.",
    },
    "FAILED": {
        "en": "{incident}: {action}: it failed ({reason}).",
        "pt": "{incident}: {action}: falhou ({reason}).",
        "fr": "{incident} : {action} : échec ({reason}).",
    },
    "UNRESOLVED": {
        "en": "{incident}: {action}: it is not known whether it ran ({reason}). Look, then send RAN {id} or DIDNOT "
        "{id}; or WRITEOFF {id} and why, if nobody can tell.",
        "pt": "{incident}: {action}: não se sabe se correu ({reason}). Veja, e depois envie RAN {id} (correu) ou "
        "DIDNOT {id} (não correu); ou WRITEOFF {id} e porquê, se ninguém souber.",
        "fr": "{incident} : {action} : exécutée ou non, on l'ignore ({reason}). Regardez, puis envoyez RAN {id} "
        "(exécutée) ou DIDNOT {id} (non) ; ou WRITEOFF {id} et pourquoi, si nul ne sait.",
    },
    "UNCONFIRMED": {
        "en": "{incident}: {action}: it ran, and the service did not recover in time.",
        "pt": "{incident}: {action}: correu, e o serviço não recuperou a tempo.",
        "fr": "{incident} : {action} : exécutée, et le service ne s'est pas rétabli à temps.",
    },
    "RECOVERED": {
        "en": "{incident}: Recovered, says policy: {reason}",
        "pt": "{incident}: Recuperado, diz a política: {reason}",
        "fr": "{incident} : Rétabli, dit la politique : {reason}",
    },
    "CLOSED": {
        "en": "{incident}: Closed by {who}: {reason}",
        "pt": "{incident}: Fechado por {who}: {reason}",
        "fr": "{incident} : Fermé par {who} : {reason}",
    },
    "CLOSED by hand": {
        "en": "{incident}: It is over: {reason}.",
        "pt": "{incident}: Terminou: {reason}.",
        "fr": "{incident} : C'est terminé : {reason}.",
    },
    "DIAGNOSED": {
        "en": "{incident}: Claude thinks: {diagnosis}",
        "pt": "{incident}: O Claude pensa: {diagnosis}",
        "fr": "{incident} : Claude pense : {diagnosis}",
    },
    "GONE": {
        "en": "{incident}: Its alerts are gone from Alertmanager and no resolved came. If it is over, close {id}.",
        "pt": "{incident}: Os alertas desapareceram do Alertmanager sem resolução. Se acabou, feche {id}.",
        "fr": "{incident} : Ses alertes ont disparu d'Alertmanager sans résolution. Si c'est fini, fermez {id}.",
    },
    # --- a drill, of which every line says that it is one ---
    "drill: incident": {
        "en": "DRILL: nothing is broken",
        "pt": "EXERCÍCIO: nada está avariado",
        "fr": "EXERCICE : rien n'est en panne",
    },
    "drill: summary": {
        "en": "this is a drill, asked for by {by}",
        "pt": "isto é um exercício, pedido por {by}",
        "fr": "ceci est un exercice, demandé par {by}",
    },
    "drill: finding": {
        "en": "nothing, for this is a drill",
        "pt": "nada, porque é um exercício",
        "fr": "rien, car c'est un exercice",
    },
    "drill: diagnosis": {
        "en": "is not asked in a drill",
        "pt": "não é consultado num exercício",
        "fr": "n'est pas consulté dans un exercice",
    },
    "drill: action": {
        "en": "DRILL, nothing will be done whatever you tap",
        "pt": "EXERCÍCIO, nada será feito, toque no que tocar",
        "fr": "EXERCICE, rien ne sera fait quoi que vous touchiez",
    },
    "drill: risk": {
        "en": "none, this is a drill",
        "pt": "nenhum, é um exercício",
        "fr": "aucun, c'est un exercice",
    },
    "drill approved": {
        "en": "DRILL: your approval arrived and would have counted. Nothing ran. The drill is over, thank you.",
        "pt": "EXERCÍCIO: a sua aprovação chegou e teria contado. Nada correu. O exercício acabou, obrigado.",
        "fr": "EXERCICE : votre accord est arrivé et aurait compté. Rien n'a été exécuté. C'est fini, merci.",
    },
    "drill rejected": {
        "en": "DRILL: your rejection arrived and would have counted. The drill is over, thank you.",
        "pt": "EXERCÍCIO: a sua rejeição chegou e teria contado. O exercício acabou, obrigado.",
        "fr": "EXERCICE : votre refus est arrivé et aurait compté. C'est fini, merci.",
    },
    "drill on it": {
        "en": "DRILL: in earnest nobody else would be called for 15 min now. Tap Approve or Reject to end the drill.",
        "pt": "EXERCÍCIO: a sério, ninguém mais seria chamado durante 15 min. Aprove ou rejeite para acabar.",
        "fr": "EXERCICE : en vrai, nul autre ne serait appelé pendant 15 min. Approuvez ou rejetez pour finir.",
    },
    "drill is over": {
        "en": "DRILL: that one is over already.",
        "pt": "EXERCÍCIO: esse já acabou.",
        "fr": "EXERCICE : celui-là est déjà fini.",
    },
    "drill expired": {
        "en": "DRILL: it is over, and no answer came in time. In earnest others would have been called.",
        "pt": "EXERCÍCIO: acabou, e não houve resposta a tempo. A sério, outras pessoas teriam sido chamadas.",
        "fr": "EXERCICE : c'est fini, sans réponse à temps. Pour de vrai, d'autres auraient été appelés.",
    },
    # --- of the service itself ---
    "halted": {
        "en": "HALTED by {who} at {at}: nothing is dispatched until somebody else sends RESUME. {reason}",
        "pt": "HALTED (parado) por {who} às {at}: nada é executado até outra pessoa enviar RESUME. {reason}",
        "fr": "HALTED (arrêt) par {who} à {at} : rien n'est exécuté avant qu'un autre envoie RESUME. {reason}",
    },
    "resumed": {
        "en": "Resumed by {who} at {at}: what is approved is dispatched again. {reason}",
        "pt": "Retomado por {who} às {at}: o que for aprovado volta a ser executado. {reason}",
        "fr": "Repris par {who} à {at} : ce qui est approuvé est de nouveau exécuté. {reason}",
    },
    "heartbeat missing": {
        "en": "No heartbeat for {quiet}: the alert {alert} should come every {within}. Prometheus, Alertmanager or the "
        "way here may be down, and other alerts may be lost.",
        "pt": "Sem batimento há {quiet}: o alerta {alert} devia chegar a cada {within}. O Prometheus, o Alertmanager "
        "ou o caminho até aqui podem estar em baixo, e outros alertas podem perder-se.",
        "fr": "Pas de battement depuis {quiet} : l'alerte {alert} devrait arriver toutes les {within}. Prometheus, "
        "Alertmanager ou le chemin jusqu'ici est peut-être en panne, et d'autres alertes peuvent se perdre.",
    },
    "heartbeat back": {
        "en": "The heartbeat is back: monitoring was silent for {quiet}.",
        "pt": "O batimento voltou: a monitorização esteve em silêncio durante {quiet}.",
        "fr": "Le battement est revenu : la surveillance est restée muette pendant {quiet}.",
    },
    "suspended": {
        "en": "{person} is suspended: a message came from their number under another identity, as after a change of "
        "SIM or phone. Nothing of it counted. If it is them: counterfoil person enrol {person}",
        "pt": "{person} está suspenso: veio uma mensagem do seu número com outra identidade, como depois de mudar de "
        "SIM ou de telefone. Nada contou. Se for a própria pessoa: counterfoil person enrol {person}",
        "fr": "{person} est suspendu : un message est venu de son numéro sous une autre identité, comme après un "
        "changement de SIM ou de téléphone. Rien n'en a compté. Si c'est bien lui : counterfoil person enrol {person}",
    },
    "opted out": {
        "en": "{person} opted out of messages and cannot be called until they send START. Others are called instead.",
        "pt": "{person} recusou mensagens e não pode ser chamado até enviar START. São chamadas outras pessoas.",
        "fr": "{person} a refusé les messages et ne peut être appelé avant d'envoyer START. D'autres sont appelés.",
    },
}


ENGLISH = "en"  # of the ledger, and of whoever is no longer in the roster


def phrase(language: str, key: str, /, **values: object) -> str:
    """The sentence `key` in the language that somebody with `language` reads, and what stands in it in the same.

    values: as of Words. Raises KeyError for a sentence that is none.
    """
    return PHRASES[key][language_of(language)].format(**{name: _in(language, given) for name, given in values.items()})


def said(language: str, words: Words | str) -> str:
    """`words` in that language; what is text already, as it stands."""
    return words if isinstance(words, str) else phrase(language, words.key, **words.values)


def of_policy(why: Why) -> Words:
    """What policy says, as a sentence of the catalogue."""
    values = {name: value if isinstance(value, str) else _of_policy(value) for name, value in why.values.items()}
    return Words(OF_POLICY + why.kind, values)


def kept(words: Words) -> dict[str, Any]:
    """The sentence as the body of an entry keeps it, beside the English of its reason."""
    return {"key": words.key, "values": {name: _kept(value) for name, value in words.values.items()}}


def recorded(kept: object, reason: str) -> Words | str:
    """What `kept` made; `reason` where nothing was kept, as in an older ledger, or the catalogue has it no more."""
    try:
        words = _read(kept)
        said(ENGLISH, words)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return reason
    return words


def said_by(entry: Entry) -> Words | str:
    """What the reason of `entry` says."""
    return recorded(entry.body.get("said"), entry.reason)


def _kept(value: object) -> object:
    if isinstance(value, Words):
        return kept(value)
    if isinstance(value, list):
        return [_kept(one) for one in value]
    exact = not isinstance(value, float) and not (isinstance(value, int) and abs(value) > MAX_INTEGER)
    return value if exact else str(value)  # it came from outside, and an entry holds no such number


def _read(kept: Any) -> Words:
    return Words(str(kept["key"]), {name: _read_value(value) for name, value in kept["values"].items()})


def _read_value(value: Any) -> object:
    if isinstance(value, Mapping):
        return _read(value)
    return [_read_value(one) for one in value] if isinstance(value, list) else value


def _of_policy(value: Why | tuple[Why, ...]) -> Words | list[Words]:
    return of_policy(value) if isinstance(value, Why) else [of_policy(one) for one in value]


def _in(language: str, value: object) -> object:
    if isinstance(value, Words):
        return said(language, value)
    if isinstance(value, list | tuple):
        between = ", " if isinstance(value, list) else " "
        return between.join(dict.fromkeys(said(language, one) for one in value))
    return value
