"""What people read in answer to WHY, DETAIL, SILENCE, RUN, HANDOVER and a PIN, in each language. Data."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, Mapping[str, str]] = {
    # --- how an incident stands ---
    "detected": {"en": "detected", "pt": "detetado", "fr": "détecté"},
    "proposed": {"en": "proposed", "pt": "à espera de resposta", "fr": "en attente de réponse"},
    "authorized": {"en": "authorized", "pt": "autorizado", "fr": "autorisé"},
    "executing": {"en": "executing", "pt": "em execução", "fr": "en cours d'exécution"},
    "unresolved": {"en": "unresolved", "pt": "em dúvida", "fr": "en doute"},
    "verifying": {"en": "verifying", "pt": "em verificação", "fr": "en vérification"},
    "recovered": {"en": "recovered", "pt": "recuperado", "fr": "rétabli"},
    "closed": {"en": "closed", "pt": "fechado", "fr": "fermé"},
    "firing": {"en": "firing {since}: {labels}", "pt": "ativo {since}: {labels}", "fr": "active {since} : {labels}"},
    "resolved": {
        "en": "resolved {since}: {labels}",
        "pt": "resolvido {since}: {labels}",
        "fr": "résolue {since} : {labels}",
    },
    "halted now": {"en": "HALTED.", "pt": "HALTED (parado).", "fr": "HALTED (à l'arrêt)."},
    "of status": {
        "en": "{id} {state}: {headline}",
        "pt": "{id} {state}: {headline}",
        "fr": "{id} {state} : {headline}",
    },
    "again": {
        "en": "{title} (again, part {part})",
        "pt": "{title} (outra vez, parte {part})",
        "fr": "{title} (de nouveau, partie {part})",
    },
    "no key": {"en": "{title} (no key)", "pt": "{title} (sem chave)", "fr": "{title} (sans clé)"},
    "asked by hand": {
        "en": "{by} asks for it by hand",
        "pt": "{by} pede-o por iniciativa própria",
        "fr": "{by} le demande de sa propre initiative",
    },
    "no alert opened it": {
        "en": "asked for by hand: no alert opened it",
        "pt": "pedido por iniciativa própria: nenhum alerta o abriu",
        "fr": "demandé à la main : aucune alerte ne l'a ouvert",
    },
    # --- WHY: what stands in the ledger is said as it stands there ---
    "why": {
        "en": "Policy {version}. {lines} {explained}",
        "pt": "Política {version}. {lines} {explained}",
        "fr": "Politique {version}. {lines} {explained}",
    },
    "why line": {
        "en": "{at} {stage} by {who} ({index}): {reason}.",
        "pt": "{at} {stage} por {who} ({index}): {reason}.",
        "fr": "{at} {stage} par {who} ({index}) : {reason}.",
    },
    "nothing decided": {
        "en": "Nothing was decided yet.",
        "pt": "Ainda nada foi decidido.",
        "fr": "Rien n'est encore décidé.",
    },
    # --- DETAIL ---
    "detail": {
        "en": "{state}: {headline} {summary}. {asked} {explained}",
        "pt": "{state}: {headline} {summary}. {asked} {explained}",
        "fr": "{state} : {headline} {summary}. {asked} {explained}",
    },
    "detail of open": {
        "en": "{state}, open for {span}: {headline} {summary}. {asked} {explained}",
        "pt": "{state}, aberto há {span}: {headline} {summary}. {asked} {explained}",
        "fr": "{state}, ouvert depuis {span} : {headline} {summary}. {asked} {explained}",
    },
    "asked about": {
        "en": "Asked to approve {title}: {names}.",
        "pt": "Pedida a aprovação de {title} a: {names}.",
        "fr": "Accord demandé pour {title} à : {names}.",
    },
    # --- the longer form of what was explained ---
    "claude says": {"en": "Claude: {text}", "pt": "Claude: {text}", "fr": "Claude : {text}"},
    "read": {"en": "Read: {readings}", "pt": "Lido: {readings}", "fr": "Lu : {readings}"},
    "wrong if": {"en": "Wrong if: {text}", "pt": "Errado se: {text}", "fr": "Faux si : {text}"},
    "not looked at": {"en": "Not looked at: {text}", "pt": "Não foi visto: {text}", "fr": "Pas regardé : {text}"},
    # --- SILENCE ---
    "silence how long": {
        "en": "Say for how long, from {least} to {most}, as in SILENCE {id} 2h.",
        "pt": "Diga por quanto tempo, de {least} a {most}, como em SILENCE {id} 2h.",
        "fr": "Dites pour combien de temps, de {least} à {most}, comme SILENCE {id} 2h.",
    },
    "silence over": {
        "en": "{id} has ended: there is nothing to silence.",
        "pt": "{id} já terminou: não há nada a silenciar.",
        "fr": "{id} est terminé : il n'y a rien à taire.",
    },
    "silence none": {
        "en": "No alert of {id} fires, so there is nothing to silence.",
        "pt": "Nenhum alerta de {id} está ativo: não há nada a silenciar.",
        "fr": "Aucune alerte de {id} n'est active : il n'y a rien à taire.",
    },
    "silence many": {
        "en": "{count} alerts fire, and {most} are silenced at most: do that at Alertmanager.",
        "pt": "Há {count} alertas ativos, e silenciam-se no máximo {most}: faça-o no Alertmanager.",
        "fr": "{count} alertes sont actives, et on en tait {most} au plus : faites-le dans Alertmanager.",
    },
    "silenced one": {
        "en": "Alertmanager is silent about 1 alert until {until}. The incident stays open.",
        "pt": "O Alertmanager cala 1 alerta até às {until}. O incidente continua aberto.",
        "fr": "Alertmanager tait 1 alerte jusqu'à {until}. L'incident reste ouvert.",
    },
    "silenced": {
        "en": "Alertmanager is silent about {count} alerts until {until}. The incident stays open.",
        "pt": "O Alertmanager cala {count} alertas até às {until}. O incidente continua aberto.",
        "fr": "Alertmanager tait {count} alertes jusqu'à {until}. L'incident reste ouvert.",
    },
    "not silenced": {
        "en": "Not silenced: {why}.",
        "pt": "Não foi silenciado: {why}.",
        "fr": "Pas de silence : {why}.",
    },
    "some silenced": {
        "en": "Not silenced: {why}. {count} alerts are.",
        "pt": "Não foi silenciado: {why}. {count} alertas foram.",
        "fr": "Pas de silence : {why}. {count} alertes sont tues.",
    },
    "no alertmanager": {
        "en": "no Alertmanager is configured (tenants.NAME.alertmanagers)",
        "pt": "nenhum Alertmanager está configurado (tenants.NAME.alertmanagers)",
        "fr": "aucun Alertmanager n'est configuré (tenants.NAME.alertmanagers)",
    },
    "alertmanager mute": {
        "en": "{server} does not answer as an Alertmanager would ({error})",
        "pt": "{server} não responde como um Alertmanager ({error})",
        "fr": "{server} ne répond pas comme un Alertmanager ({error})",
    },
    "alertmanager answers": {
        "en": "{server} answers {status}",
        "pt": "{server} responde {status}",
        "fr": "{server} répond {status}",
    },
    "alertmanager refuses": {
        "en": "{server} refuses it: {answer}",
        "pt": "{server} recusa: {answer}",
        "fr": "{server} refuse : {answer}",
    },
    # --- RUN ---
    "run what": {
        "en": "say RUN, an action and its key: {known}",
        "pt": "diga RUN, uma ação e a sua chave: {known}",
        "fr": "dites RUN, une action et sa clé : {known}",
    },
    "run unknown": {
        "en": "there is no action {named}; there are {known}",
        "pt": "não há ação {named}; há {known}",
        "fr": "il n'y a pas d'action {named} ; il y a {known}",
    },
    "run none": {"en": "none in the policy", "pt": "nenhuma na política", "fr": "aucune dans la politique"},
    "run several": {
        "en": "several rules have it: say one of {names}",
        "pt": "há em várias regras: diga uma de {names}",
        "fr": "plusieurs règles l'ont : dites l'une de {names}",
    },
    "run needs": {
        "en": "{rule} needs {labels}: one value each",
        "pt": "{rule} precisa de {labels}: um valor para cada",
        "fr": "{rule} demande {labels} : une valeur pour chacun",
    },
    "run needs none": {
        "en": "{rule} needs no key",
        "pt": "{rule} não tem chave",
        "fr": "{rule} n'a pas de clé",
    },
    "run again": {
        "en": "another policy came into force meanwhile; ask again",
        "pt": "entretanto entrou em vigor outra política; peça de novo",
        "fr": "une autre politique est entrée en vigueur ; redemandez",
    },
    "run asked": {
        "en": "{by} asked for it already: {id}",
        "pt": "{by} já o pediu: {id}",
        "fr": "{by} l'a déjà demandé : {id}",
    },
    "run asked other": {
        "en": "{by} asked for {action} already: {id}",
        "pt": "{by} já pediu {action}: {id}",
        "fr": "{by} a déjà demandé {action} : {id}",
    },
    "run has question": {
        "en": "{id} is open about it and has its own question; DETAIL {id} shows it",
        "pt": "{id} está aberto sobre isso e tem a sua pergunta; DETAIL {id} mostra-a",
        "fr": "{id} est ouvert à ce sujet et a sa propre question ; DETAIL {id} la montre",
    },
    "run question comes": {
        "en": "{id} is open about it, and its own question comes at once",
        "pt": "{id} está aberto sobre isso, e a sua pergunta vem já",
        "fr": "{id} est ouvert à ce sujet, et sa propre question arrive",
    },
    "only observed": {
        "en": "nothing is run: this tenant only observes",
        "pt": "nada é executado: aqui só se observa",
        "fr": "rien n'est exécuté : ici on ne fait qu'observer",
    },
    "no executor": {
        "en": "its executor is not configured",
        "pt": "o seu executor não está configurado",
        "fr": "son exécuteur n'est pas configuré",
    },
    "run full": {
        "en": "{count} incidents are open: close some first",
        "pt": "há {count} incidentes abertos: feche alguns primeiro",
        "fr": "{count} incidents sont ouverts : fermez-en d'abord",
    },
    # --- HANDOVER ---
    "handover": {
        "en": "{person} is on duty for {roles}{until}.",
        "pt": "{person} está de serviço para {roles}{until}.",
        "fr": "{person} est de garde pour {roles}{until}.",
    },
    "handover whom": {
        "en": "Say HANDOVER and a name. {holders}",
        "pt": "Diga HANDOVER e um nome. {holders}",
        "fr": "Dites HANDOVER et un nom. {holders}",
    },
    "handover nobody": {
        "en": "There is no {name} here. Say HANDOVER and a name. {holders}",
        "pt": "Não há aqui nenhum {name}. Diga HANDOVER e um nome. {holders}",
        "fr": "Il n'y a pas de {name} ici. Dites HANDOVER et un nom. {holders}",
    },
    "no turns": {
        "en": "Nobody takes turns here: duty is what roles say. {holders}",
        "pt": "Aqui não há turnos: o serviço é o que dizem os papéis. {holders}",
        "fr": "Il n'y a pas de tours ici : la garde est ce que disent les rôles. {holders}",
    },
    "handover own": {
        "en": "Say HANDOVER and the name of somebody else; your own takes a duty that nobody has. {holders}",
        "pt": "Diga HANDOVER e o nome de outra pessoa; o seu assume um serviço que ninguém tem. {holders}",
        "fr": "Dites HANDOVER et le nom d'un autre ; le vôtre prend une garde que personne n'a. {holders}",
    },
    "not on duty": {
        "en": "You are not on duty. {holders}",
        "pt": "Não está de serviço. {holders}",
        "fr": "Vous n'êtes pas de garde. {holders}",
    },
    "not callable": {
        "en": "{person} cannot be called now. {holders}",
        "pt": "{person} não pode ser chamado agora. {holders}",
        "fr": "{person} ne peut être appelé maintenant. {holders}",
    },
    "may not hold": {
        "en": "{person} is not among those who may have the duty of {roles}. {holders}",
        "pt": "{person} não está entre quem pode ter o serviço de {roles}. {holders}",
        "fr": "{person} n'est pas de ceux qui peuvent avoir la garde de {roles}. {holders}",
    },
    "on duty already": {
        "en": "{person} is on duty already. {holders}",
        "pt": "{person} já está de serviço. {holders}",
        "fr": "{person} est déjà de garde. {holders}",
    },
    "holder": {
        "en": "On duty for {role}: {names}.",
        "pt": "De serviço para {role}: {names}.",
        "fr": "De garde pour {role} : {names}.",
    },
    "nobody": {"en": "nobody", "pt": "ninguém", "fr": "personne"},
    # --- PIN ---
    "pin wanted": {
        "en": "{title}: this needs your PIN. Send it within {minutes} min, then delete it.",
        "pt": "{title}: isto precisa do seu PIN. Envie-o dentro de {minutes} min, e depois apague-o.",
        "fr": "{title} : il faut votre code PIN. Envoyez-le dans les {minutes} min, puis effacez-le.",
    },
    "pin wrong": {
        "en": "that is not your PIN; {left} tries are left",
        "pt": "esse não é o seu PIN; tentativas que restam: {left}",
        "fr": "ce n'est pas votre code PIN ; essais restants : {left}",
    },
    "pin locks": {
        "en": "that is not your PIN, and it is locked now",
        "pt": "esse não é o seu PIN, e ficou bloqueado",
        "fr": "ce n'est pas votre code PIN, et il est bloqué",
    },
    "pin locked": {
        "en": "your PIN is locked after too many wrong ones: ask an operator, or wait a day",
        "pt": "o seu PIN está bloqueado após demasiados erros: peça a um operador, ou espere um dia",
        "fr": "votre code PIN est bloqué après trop d'erreurs : demandez à un opérateur, ou attendez un jour",
    },
    "pin alarm": {
        "en": "{person} sent {tries} wrong PINs, and it is locked. If it is not them: person suspend {person}",
        "pt": "{person} enviou {tries} PIN errados, e ficou bloqueado. Se não for a própria pessoa: person suspend "
        "{person}",
        "fr": "{person} a envoyé {tries} codes PIN erronés, et il est bloqué. Si ce n'est pas lui : person suspend "
        "{person}",
    },
}
