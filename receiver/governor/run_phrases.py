"""What became of a run, in each language. Data: the English is that of the office that ran it, and of the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.execution.reasons import ENGLISH

# key → Portuguese, French
_OTHERS: Mapping[str, tuple[str, str]] = {
    "run gateway": (
        "um intermediário antes do executor respondeu {status}",
        "un intermédiaire devant l'exécuteur a répondu {status}",
    ),
    "run answered": ("o executor respondeu {status}", "l'exécuteur a répondu {status}"),
    "run answered before": (
        "já tinha corrido: o executor respondeu {status}",
        "déjà exécutée auparavant : l'exécuteur a répondu {status}",
    ),
    "run taken": (
        "o executor aceitou ({status}); a política vê se ajudou",
        "l'exécuteur l'a prise ({status}) ; la politique voit si cela aide",
    ),
    "run too long": (
        "o executor respondeu {status} com mais de 64 kB, e não se sabe o código de saída",
        "l'exécuteur a répondu {status} avec plus de 64 ko, et le code de sortie est inconnu",
    ),
    "run bad JSON": (
        "o executor respondeu {status} com JSON ilegível, e não se sabe o código de saída",
        "l'exécuteur a répondu {status} avec un JSON illisible, et le code de sortie est inconnu",
    ),
    "run says nothing": (
        "o executor respondeu {status}, e nada diz em {path}",
        "l'exécuteur a répondu {status}, et ne dit rien à {path}",
    ),
    "run says": ("o executor diz {word} em {path}", "l'exécuteur dit {word} à {path}"),
    "run says neither": (
        "o executor diz {word} em {path}, que não é êxito nem falha",
        "l'exécuteur dit {word} à {path}, ni succès ni échec",
    ),
    "run cannot be polled": (
        "o executor respondeu {status}, e não se pode perguntar pelo resultado: {error}",
        "l'exécuteur a répondu {status}, et on ne peut demander le résultat : {error}",
    ),
    "run bad exit code": (
        "o código de saída do executor não é um número",
        "le code de sortie de l'exécuteur n'est pas un nombre",
    ),
    "run exit code": ("código de saída {code}", "code de sortie {code}"),
    "run exit code before": (
        "já tinha corrido: código de saída {code}",
        "déjà exécutée auparavant : code de sortie {code}",
    ),
    "run begun before": (
        "o executor já o tinha começado e não sabe como acabou",
        "l'exécuteur l'avait déjà commencée et ne sait comment cela a fini",
    ),
    "run other executor": (
        "o executor {executor} tem agora outra configuração",
        "l'exécuteur {executor} est configuré autrement désormais",
    ),
    "run other poll": (
        "o executor {executor} tem agora outra configuração: não se pode perguntar pelo resultado",
        "l'exécuteur {executor} est configuré autrement désormais : on ne peut demander le résultat",
    ),
    "run forbidden": ("endereço não permitido: {why}", "adresse interdite : {why}"),
    "run fault": ("executor {executor}: {error}", "exécuteur {executor} : {error}"),
    "run no answer": ("nenhuma resposta em {seconds} s", "aucune réponse en {seconds} s"),
    "run no connection": ("não se consegue ligar: {error}", "connexion impossible : {error}"),
    "run broken": ("{error} ao falar com o executor", "{error} en parlant à l'exécuteur"),
}

RUNS: Mapping[str, Mapping[str, str]] = {
    key: {"en": ENGLISH[key], "pt": portuguese, "fr": french} for key, (portuguese, french) in _OTHERS.items()
}
