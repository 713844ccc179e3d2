"""What was not looked at around an incident, in each language. Data: the English is that of case files."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.evidence.left_out import ENGLISH

# key → Portuguese, French
_OTHERS: Mapping[str, tuple[str, str]] = {
    "nothing looked up": (
        "nada se procurou: {count} outros incidentes estavam primeiro",
        "rien n'a été cherché : {count} autres incidents passaient avant",
    ),
    "no prometheus": (
        "nenhum Prometheus está configurado: nada se procurou",
        "aucun Prometheus n'est configuré : rien n'a été cherché",
    ),
    "rehearsed": (
        "um ensaio não tem Prometheus: nada se procurou",
        "une répétition n'a pas de Prometheus : rien n'a été cherché",
    ),
    "looked in part": (
        "{what}: nem tudo teve resposta a tempo",
        "{what} : tout n'a pas reçu de réponse à temps",
    ),
    "look failed": ("{what}: {why}", "{what} : {why}"),
    "more series moved": ("mais {count} séries que se moveram", "{count} autres séries qui ont bougé"),
    "more deploys": ("mais {count} instalações", "{count} autres déploiements"),
    "more signals": ("mais {count} sinais ao longo do tempo", "{count} autres signaux dans le temps"),
    "more alerts": ("mais {count} alertas ativos", "{count} autres alertes actives"),
    "more candidates": ("mais {count} candidatos configurados", "{count} autres candidats configurés"),
    "more series": ("mais {count} séries de {of}", "{count} autres séries de {of}"),
    "more labels": ("mais {count} etiquetas do incidente", "{count} autres étiquettes de l'incident"),
    "more neighbours": ("mais {count} vizinhos do incidente", "{count} autres voisins de l'incident"),
    "too many series": (
        "{name} ao longo do tempo: {count} séries onde é precisa uma",
        "{name} dans le temps : {count} séries où il en faut une",
    ),
    "no label to look by": (
        "o incidente não tem etiqueta pela qual se achem séries",
        "l'incident n'a pas d'étiquette qui mène à des séries",
    ),
    "server too large": (
        "séries sem etiqueta comum com o incidente: o servidor é grande",
        "les séries sans étiquette commune avec l'incident : le serveur est grand",
    ),
    "selector too large": (
        "{of} tem {count} séries, demasiadas para ver",
        "{of} a {count} séries, trop pour les regarder",
    ),
    "series not asked for": ("{count} séries de {of} não foram pedidas", "{count} séries de {of}, pas demandées"),
    "too many questions": (
        "seriam precisas mais de {most} perguntas",
        "il aurait fallu plus de {most} questions",
    ),
    "too many bytes": ("seriam lidos mais de {most} bytes", "il aurait fallu lire plus de {most} octets"),
    "the alert's rule": ("a regra do alerta", "la règle de l'alerte"),
    "the policy's signals": ("os sinais da política", "les signaux de la politique"),
    "other alerts": ("outros alertas", "d'autres alertes"),
    "deploys": ("instalações", "déploiements"),
    "candidates": ("candidatos", "candidats"),
    "the alert's history": ("a história do alerta", "l'histoire de l'alerte"),
    "a configured candidate": ("um candidato configurado", "un candidat configuré"),
    "neighbours": ("vizinhos", "voisins"),
    "the size of the server": ("o tamanho do servidor", "la taille du serveur"),
    "candidates, hours before": ("candidatos, horas antes", "candidats, des heures avant"),
    "over time": ("{name} ao longo do tempo", "{name} dans le temps"),
    "over an hour": ("{name} durante uma hora", "{name} sur une heure"),
    "series of": ("séries de {of}", "séries de {of}"),
    "not answered": ("nenhuma resposta em {seconds} s", "aucune réponse en {seconds} s"),
    "answers nothing": ("{error}: não responde", "{error} : il ne répond pas"),
    "answer too long": ("uma resposta de mais de {most} bytes", "une réponse de plus de {most} octets"),
    "no answer of Prometheus": (
        "responde {status}, e não como o Prometheus",
        "il répond {status}, et pas comme Prometheus",
    ),
}
_OURS: Mapping[str, Mapping[str, str]] = {
    "no such label": {
        "en": "diagnosis.{kind}: {promql}: the incident has no {labels}",
        "pt": "diagnosis.{kind}: {promql}: o incidente não tem {labels}",
        "fr": "diagnosis.{kind} : {promql} : l'incident n'a pas de {labels}",
    },
}

LOOKS: Mapping[str, Mapping[str, str]] = {
    **_OURS,
    **{key: {"en": ENGLISH[key], "pt": portuguese, "fr": french} for key, (portuguese, french) in _OTHERS.items()},
}
