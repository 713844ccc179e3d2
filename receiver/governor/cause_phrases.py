"""Why nothing is asked, why a question ends, and what became of a run, in each language. Data."""

from __future__ import annotations

from collections.abc import Mapping

CAUSES: Mapping[str, Mapping[str, str]] = {
    "headline": {"en": "{title}: {finding}.", "pt": "{title}: {finding}.", "fr": "{title} : {finding}."},
    # --- what stands below a message that is about no incident ---
    "of duty": {"en": "duty", "pt": "serviço", "fr": "garde"},
    "of digest": {"en": "digest", "pt": "resumo", "fr": "condensé"},
    "of watches": {"en": "alerts that wait", "pt": "alertas em espera", "fr": "alertes en attente"},
    "of heartbeat": {"en": "heartbeat", "pt": "batimento", "fr": "battement"},
    "of halted": {"en": "halted", "pt": "paragem", "fr": "arrêt"},
    "of resumed": {"en": "resumed", "pt": "retoma", "fr": "reprise"},
    "by rule": {"en": "{rule}: {found}", "pt": "{rule}: {found}", "fr": "{rule} : {found}"},
    # --- why an action is not asked ---
    "denied": {"en": "{action}: {why}", "pt": "{action}: {why}", "fr": "{action} : {why}"},
    "tried already": {
        "en": "tried and not confirmed",
        "pt": "tentado e não confirmado",
        "fr": "essayé et non confirmé",
    },
    "would be asked": {
        "en": "would be proposed to {names}; only observed here",
        "pt": "seria proposto a {names}; aqui só se observa",
        "fr": "serait proposé à {names} ; ici on ne fait qu'observer",
    },
    "executor missing": {
        "en": "executor {executor} is not configured",
        "pt": "o executor {executor} não está configurado",
        "fr": "l'exécuteur {executor} n'est pas configuré",
    },
    "no request": {
        "en": "no request can be made of it: {error}",
        "pt": "não se pode fazer disso um pedido: {error}",
        "fr": "on ne peut en faire une requête : {error}",
    },
    "asks by hand": {
        "en": "{by} asks for it by hand in {id}",
        "pt": "{by} pede-o por iniciativa própria em {id}",
        "fr": "{by} le demande de sa propre initiative dans {id}",
    },
    # --- why a question ends, or what was authorized is not run ---
    "declined": {"en": "a person declined", "pt": "alguém rejeitou", "fr": "quelqu'un a rejeté"},
    "may not answer": {
        "en": "{names} may not answer any more",
        "pt": "{names} já não pode responder",
        "fr": "{names} ne peut plus répondre",
    },
    "not in time": {
        "en": "nobody decided in time",
        "pt": "ninguém decidiu a tempo",
        "fr": "personne n'a décidé à temps",
    },
    "not dispatched": {
        "en": "it could not be dispatched in time",
        "pt": "não pôde ser executado a tempo",
        "fr": "elle n'a pu être exécutée à temps",
    },
    "other policy": {
        "en": "another policy is in force now",
        "pt": "agora vigora outra política",
        "fr": "une autre politique est en vigueur",
    },
    "alert asks": {
        "en": "an alert opened {id}, which asks from now on",
        "pt": "um alerta abriu {id}, que pergunta a partir de agora",
        "fr": "une alerte a ouvert {id}, qui pose désormais la question",
    },
    "over": {"en": "it is over", "pt": "terminou", "fr": "c'est terminé"},
    # --- the end of what was asked for by hand ---
    "by hand, ended": {
        "en": "{by} asked for it by hand: {why}",
        "pt": "{by} pediu-o por iniciativa própria: {why}",
        "fr": "{by} l'avait demandé de sa propre initiative : {why}",
    },
    "cannot be asked": {
        "en": "it cannot be asked: {why}",
        "pt": "não se pode perguntar: {why}",
        "fr": "on ne peut poser la question : {why}",
    },
    "same asked": {
        "en": "{id} is about the same, and is asked about",
        "pt": "{id} é sobre o mesmo, e já tem a pergunta",
        "fr": "{id} porte sur la même chose, et la question y est posée",
    },
    "was not asked": {"en": "it was not asked", "pt": "não se perguntou", "fr": "la question n'a pas été posée"},
    "no recovery": {
        "en": "it ran, and what the rule calls recovered did not come in time",
        "pt": "correu, e o que a regra chama recuperado não veio a tempo",
        "fr": "exécutée, et ce que la règle appelle rétabli n'est pas venu à temps",
    },
    "it failed": {"en": "it failed", "pt": "falhou", "fr": "elle a échoué"},
    "did not run": {"en": "it did not run", "pt": "não correu", "fr": "elle n'a pas été exécutée"},
    "became void": {
        "en": "its authorization became void",
        "pt": "a autorização ficou sem efeito",
        "fr": "son autorisation est caduque",
    },
    "never known": {
        "en": "it was never known whether it ran",
        "pt": "nunca se soube se correu",
        "fr": "on n'a jamais su si elle a été exécutée",
    },
    "it ran": {"en": "it ran", "pt": "correu", "fr": "elle a été exécutée"},
    "was withdrawn": {
        "en": "the question was withdrawn",
        "pt": "a pergunta foi retirada",
        "fr": "la question a été retirée",
    },
    "rejected": {"en": "rejected", "pt": "rejeitado", "fr": "rejeté"},
    "rejected by": {"en": "rejected by {by}", "pt": "rejeitado por {by}", "fr": "rejeté par {by}"},
    # --- what became of a run, as far as it is ours to say ---
    "stopped between": {
        "en": "the process stopped between dispatch and answer",
        "pt": "o serviço parou entre o envio e a resposta",
        "fr": "le service s'est arrêté entre l'envoi et la réponse",
    },
    "another request": {
        "en": "the stored request is not the one that was authorized",
        "pt": "o pedido guardado não é o que foi autorizado",
        "fr": "la requête gardée n'est pas celle qui fut autorisée",
    },
    "never sent": {
        "en": "it was never sent: the executor was not reached, or a halt stood",
        "pt": "nunca foi enviado: não se chegou ao executor, ou havia uma paragem",
        "fr": "jamais envoyée : l'exécuteur n'a pas été joint, ou un arrêt était en vigueur",
    },
    "no result": {
        "en": "no result before its deadline",
        "pt": "nenhum resultado dentro do prazo",
        "fr": "aucun résultat avant l'échéance",
    },
    "nothing told": {
        "en": "it was taken, and nothing told its result until {until}",
        "pt": "foi aceite, e nada disse o resultado até {until}",
        "fr": "prise en charge, et rien n'en a dit le résultat jusqu'à {until}",
    },
    "reports success": {
        "en": "the executor reports success",
        "pt": "o executor diz que correu bem",
        "fr": "l'exécuteur annonce un succès",
    },
    "reports failure": {
        "en": "the executor reports failure",
        "pt": "o executor diz que falhou",
        "fr": "l'exécuteur annonce un échec",
    },
    "says ran": {"en": "{by} says that it ran", "pt": "{by} diz que correu", "fr": "{by} dit qu'elle a été exécutée"},
    "says not": {
        "en": "{by} says that it did not run",
        "pt": "{by} diz que não correu",
        "fr": "{by} dit qu'elle n'a pas été exécutée",
    },
    "says nobody knows": {
        "en": "{by} says that nobody can tell",
        "pt": "{by} diz que ninguém sabe",
        "fr": "{by} dit que nul ne le sait",
    },
    # --- why there is no diagnosis: NoDiagnosis.outcome ---
    "no_key": {"en": "no key", "pt": "sem chave", "fr": "sans clé"},
    "timeout": {"en": "timeout", "pt": "sem resposta a tempo", "fr": "pas de réponse à temps"},
    "overloaded": {"en": "overloaded", "pt": "o modelo está sobrecarregado", "fr": "le modèle est surchargé"},
    "rate_limited": {"en": "rate limited", "pt": "demasiados pedidos", "fr": "trop de requêtes"},
    "spend_limit": {"en": "spend limit", "pt": "limite de despesa", "fr": "limite de dépense"},
    "refusal": {"en": "refusal", "pt": "o modelo recusou", "fr": "le modèle a refusé"},
    "truncated": {"en": "truncated", "pt": "resposta cortada", "fr": "réponse tronquée"},
    "bad_answer": {"en": "bad answer", "pt": "resposta inválida", "fr": "réponse inutilisable"},
    "no_claims": {"en": "no claims", "pt": "nada que se sustentasse", "fr": "rien qui soit étayé"},
    "unauthorized": {"en": "unauthorized", "pt": "chave recusada", "fr": "clé refusée"},
    "api_error": {"en": "api error", "pt": "erro da API", "fr": "erreur de l'API"},
    "unreachable": {"en": "unreachable", "pt": "inacessível", "fr": "injoignable"},
    "busy": {"en": "busy", "pt": "ocupado", "fr": "occupé"},
    "budget": {"en": "budget", "pt": "orçamento esgotado", "fr": "budget épuisé"},
    "not_installed": {"en": "not installed", "pt": "não instalado", "fr": "non installé"},
}
NO_DIAGNOSIS = frozenset(
    {
        "no_key",
        "timeout",
        "overloaded",
        "rate_limited",
        "spend_limit",
        "refusal",
        "truncated",
        "bad_answer",
        "no_claims",
    }
    | {"unauthorized", "api_error", "unreachable", "busy", "budget", "not_installed"}
)
