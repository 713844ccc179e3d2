"""Why policy decided as it did, in each language. Data: the English is policy's own, as it stands in the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from policy_rules.reasons import ENGLISH

# kind → Portuguese, French
_OTHERS: Mapping[str, tuple[str, str]] = {
    "recorded": ("{text}", "{text}"),
    "is": ("{name} {value} {operator} {threshold}", "{name} {value} {operator} {threshold}"),
    "is not": ("{name} {value} não {operator} {threshold}", "{name} {value} pas {operator} {threshold}"),
    "unknown": ("{name} desconhecido", "{name} inconnu"),
    "unknown because": ("{name} desconhecido ({why})", "{name} inconnu ({why})"),
    "found": ("{parts}", "{parts}"),
    "lasted": ("{found} durante {length}", "{found} pendant {length}"),
    "lasts": ("{found} durante {held} de {length}", "{found} depuis {held} sur {length}"),
    "ignored": ("{found}: ignorado", "{found} : ignoré"),
    "held": ("{found}: em espera", "{found} : en attente"),
    "the alert's word": (
        "{found} durante {length}: vale a palavra do alerta",
        "{found} pendant {length} : la parole de l'alerte compte",
    ),
    "no alert fires": ("nenhum alerta está ativo", "aucune alerte n'est active"),
    "no action": (
        "a política em vigor já não tem a ação {action} na regra {rule}",
        "la politique en vigueur n'a plus d'action {action} dans la règle {rule}",
    ),
    "halted": ("parado: nada é executado", "à l'arrêt : rien n'est exécuté"),
    "other way": (
        "a política em vigor executa {action} de outra forma",
        "la politique en vigueur exécute {action} autrement",
    ),
    "blocked": ("bloqueado durante {interval}", "bloqué pendant {interval}"),
    "limit key": (
        "limite: {runs} execuções em {per}, permitidas {most}",
        "limite : {runs} exécution(s) en {per}, {most} permise(s)",
    ),
    "limit action": (
        "limite da ação: {runs} execuções em {per}, permitidas {most}",
        "limite de l'action : {runs} exécution(s) en {per}, {most} permise(s)",
    ),
    "limit rule": (
        "limite da regra: {runs} execuções em {per}, permitidas {most}",
        "limite de la règle : {runs} exécution(s) en {per}, {most} permise(s)",
    ),
    "limit tenant": (
        "limite de toda a instalação: {runs} execuções em {per}, permitidas {most}",
        "limite de toute l'installation : {runs} exécution(s) en {per}, {most} permise(s)",
    ),
    "cooldown key": (
        "pausa: a última execução foi há {since}, têm de passar {wanted}",
        "pause : la dernière exécution date de {since}, il faut attendre {wanted}",
    ),
    "cooldown action": (
        "pausa da ação: a última execução foi há {since}, têm de passar {wanted}",
        "pause de l'action : la dernière exécution date de {since}, il faut attendre {wanted}",
    ),
    "cooldown rule": (
        "pausa da regra: a última execução foi há {since}, têm de passar {wanted}",
        "pause de la règle : la dernière exécution date de {since}, il faut attendre {wanted}",
    ),
    "cooldown tenant": (
        "pausa de toda a instalação: a última execução foi há {since}, têm de passar {wanted}",
        "pause de toute l'installation : la dernière exécution date de {since}, il faut attendre {wanted}",
    ),
    "breaker": (
        "disjuntor: {failures} execuções seguidas falharam ou não ajudaram; alguém tem de libertar {action}",
        "disjoncteur : {failures} exécutions de suite ont échoué ou n'ont pas aidé ; il faut débloquer {action}",
    ),
    "busy": (
        "{executor} com {params} está em curso, ou ninguém sabe como acabou",
        "{executor} avec {params} est en cours, ou nul ne sait comment cela a fini",
    ),
    "busy without": (
        "{executor} sem parâmetros está em curso, ou ninguém sabe como acabou",
        "{executor} sans paramètre est en cours, ou nul ne sait comment cela a fini",
    ),
    "not allowed": (
        "o valor {value} de {label} não está em allow",
        "la valeur {value} de {label} n'est pas dans allow",
    ),
    "no label": ("o alerta não tem {label}", "l'alerte n'a pas de {label}"),
    "unread": ("não se sabe {param}: {signal} é {why}", "on ne connaît pas {param} : {signal} est {why}"),
    "no number": (
        "não se sabe {param}: {signal} não é um número que sirva",
        "on ne connaît pas {param} : {signal} n'est pas un nombre utilisable",
    ),
    "out of range": (
        "{param} seria {value}, e só se permite de {least} a {most}",
        "{param} serait {value}, et seul {least} à {most} est permis",
    ),
    "need unknown": ("não se sabe se é precisa: {found}", "on ne sait pas si elle est utile : {found}"),
    "not needed": ("não é precisa: {found}", "elle n'est pas utile : {found}"),
    "not asked": ("não foi perguntado", "pas demandé"),
    "refuses the unknown": (
        "a ação recusa-se enquanto os dados são desconhecidos: {found}",
        "l'action se refuse tant que les données sont inconnues : {found}",
    ),
    "recovered": ("recuperado: {found}", "rétabli : {found}"),
    "not in the roster": (
        "{person} não está na lista de pessoas, ou está suspenso",
        "{person} n'est pas dans la liste des personnes, ou est suspendu",
    ),
    "needs": ("{rule} precisa de {labels}", "{rule} demande {labels}"),
    "needs no label": ("{rule} não precisa de nenhuma etiqueta", "{rule} ne demande aucune étiquette"),
    "stranger": ("quem enviou não está na lista de pessoas", "l'expéditeur n'est pas dans la liste des personnes"),
    "you are suspended": ("está suspenso", "vous êtes suspendu"),
    "you were not asked": ("não lhe foi perguntado", "la question ne vous était pas posée"),
    "expired": ("a pergunta já expirou", "la question a expiré"),
    "you may not": (
        "a política em vigor não lhe permite aprovar isto",
        "la politique en vigueur ne vous permet pas de l'approuver",
    ),
    "you asked": ("foi você que o pediu", "c'est vous qui l'avez demandé"),
    "too few approved": (
        "contam {counted} das {needed} aprovações necessárias",
        "{counted} accord(s) sur {needed} nécessaire(s) comptent",
    ),
    "too few able": (
        "é precisa a aprovação de {needed}, e só {able} a podem dar",
        "il faut l'accord de {needed}, et {able} seulement peuvent le donner",
    ),
    "too few approved first": (
        "têm de aprovar {needed} do primeiro nível, e aprovaram {counted}",
        "il faut l'accord de {needed} du premier niveau, et {counted} l'ont donné",
    ),
    "too few approved second": (
        "têm de aprovar {needed} do segundo nível, e aprovaram {counted}",
        "il faut l'accord de {needed} du second niveau, et {counted} l'ont donné",
    ),
    "too few able first": (
        "têm de aprovar {needed} do primeiro nível, e só há {counted}",
        "il faut l'accord de {needed} du premier niveau, et il n'y en a que {counted}",
    ),
    "too few able second": (
        "têm de aprovar {needed} do segundo nível, e só há {counted}",
        "il faut l'accord de {needed} du second niveau, et il n'y en a que {counted}",
    ),
}
OF_POLICY = "policy: "  # before the kind, in the catalogue and in what the ledger keeps of it

REASONS: Mapping[str, Mapping[str, str]] = {
    f"{OF_POLICY}{kind}": {"en": ENGLISH[kind], "pt": portuguese, "fr": french}
    for kind, (portuguese, french) in _OTHERS.items()
}
