"""What people read in answer to what they write, and of duty, in each language. Data; `phrases.phrase` looks it up."""

from __future__ import annotations

from collections.abc import Mapping

REPLIES: Mapping[str, Mapping[str, str]] = {
    "counted": {"en": "Counted. {missing}", "pt": "Contou. {missing}", "fr": "Compté. {missing}"},
    "not counted": {"en": "Not counted: {why}.", "pt": "Não contou: {why}.", "fr": "Non compté : {why}."},
    "already AUTHORIZED": {"en": "already approved{by}", "pt": "já aprovado{by}", "fr": "déjà approuvé{by}"},
    "already REJECTED": {"en": "already rejected{by}", "pt": "já rejeitado{by}", "fr": "déjà rejeté{by}"},
    "already EXPIRED": {"en": "already expired{by}", "pt": "já expirou{by}", "fr": "déjà expiré{by}"},
    "already WITHDRAWN": {"en": "already withdrawn{by}", "pt": "já retirado{by}", "fr": "déjà retiré{by}"},
    "already closed": {"en": "already closed{by}", "pt": "já fechado{by}", "fr": "déjà fermé{by}"},
    "by": {"en": " by {name}", "pt": " por {name}", "fr": " par {name}"},
    "approved already": {
        "en": "you have approved this already",
        "pt": "já o aprovou",
        "fr": "vous l'avez déjà approuvé",
    },
    "wrong code": {
        "en": "That code fits no open question of yours",
        "pt": "Esse código não corresponde a nenhuma pergunta aberta sua",
        "fr": "Ce code ne correspond à aucune question ouverte pour vous",
    },
    "on it": {
        "en": "Noted: you are on it. Nobody else is called for {minutes} min. It authorizes nothing.",
        "pt": "Anotado: está a tratar. Mais ninguém é chamado durante {minutes} min. Não autoriza nada.",
        "fr": "Noté : vous vous en occupez. Personne d'autre n'est appelé pendant {minutes} min. Cela n'autorise rien.",
    },
    "you halted": {
        "en": "Halted: nothing is dispatched until somebody else sends RESUME.",
        "pt": "Parado: nada é executado até outra pessoa enviar RESUME.",
        "fr": "Arrêté : rien n'est exécuté avant qu'un autre envoie RESUME.",
    },
    "you resumed": {"en": "Resumed.", "pt": "Retomado.", "fr": "Repris."},
    "others resumed": {
        "en": "Resumed the halts of others; your own still stands.",
        "pt": "Retomadas as paragens dos outros; a sua mantém-se.",
        "fr": "Les arrêts des autres sont levés ; le vôtre reste.",
    },
    "own halt": {
        "en": "whoever halted cannot resume",
        "pt": "quem parou não pode retomar",
        "fr": "qui a arrêté ne peut reprendre",
    },
    "no halt": {"en": "nothing is halted", "pt": "nada está parado", "fr": "rien n'est arrêté"},
    "none open": {"en": "No open incident.", "pt": "Nenhum incidente aberto.", "fr": "Aucun incident ouvert."},
    "none further": {
        "en": "No more open incident.",
        "pt": "Mais nenhum incidente aberto.",
        "fr": "Plus d'incident ouvert.",
    },
    "more open": {
        "en": " And {count} more: STATUS {page}.",
        "pt": " E mais {count}: STATUS {page}.",
        "fr": " Et {count} de plus : STATUS {page}.",
    },
    "more watched": {
        "en": " {count} more alerts are watched, and open once some of these have ended.",
        "pt": " Mais {count} alertas são observados, e abrem quando alguns destes terminarem.",
        "fr": " {count} autres alertes sont observées, et s'ouvrent quand certains seront terminés.",
    },
    "asked already": {
        "en": "You have that question already.",
        "pt": "Já tem essa pergunta.",
        "fr": "Vous avez déjà cette question.",
    },
    "noted": {"en": "Noted.", "pt": "Anotado.", "fr": "Noté."},
    "asked for": {
        "en": "Asked for: the others are asked now. {id}",
        "pt": "Pedido: as outras pessoas são consultadas agora. {id}",
        "fr": "Demandé : les autres sont sollicités. {id}",
    },
    "settled ran": {
        "en": "Noted: it ran. Policy says whether it helped.",
        "pt": "Anotado: correu. A política diz se ajudou.",
        "fr": "Noté : exécutée. La politique dit si cela a aidé.",
    },
    "settled did_not_run": {
        "en": "Noted: it did not run. It may be asked for again.",
        "pt": "Anotado: não correu. Pode ser pedido de novo.",
        "fr": "Noté : pas exécutée. On peut la redemander.",
    },
    "settled written_off": {
        "en": "Noted: written off. It may be asked for again.",
        "pt": "Anotado: dado por perdido. Pode ser pedido de novo.",
        "fr": "Noté : passée par pertes. On peut la redemander.",
    },
    "which doubt": {
        "en": "Which one? Say it with the id: {ids}.",
        "pt": "Qual? Diga-o com o id: {ids}.",
        "fr": "Laquelle ? Dites-le avec l'id : {ids}.",
    },
    "no doubt": {"en": "Nothing is in doubt.", "pt": "Nada está em dúvida.", "fr": "Rien n'est en doute."},
    "not for you": {
        "en": "only {names} may say what became of it",
        "pt": "só {names} pode dizer o que aconteceu",
        "fr": "seul(s) {names} peut dire ce qu'il en est",
    },
    "which": {
        "en": "Which incident? Say {word} and its id. {open}",
        "pt": "Que incidente? Diga {word} e o seu id. {open}",
        "fr": "Quel incident ? Dites {word} et son id. {open}",
    },
    "these open": {"en": "Open now: {ids}.", "pt": "Abertos agora: {ids}.", "fr": "Ouverts : {ids}."},
    "none of them": {"en": "None is open.", "pt": "Nenhum está aberto.", "fr": "Aucun n'est ouvert."},
    "help": {
        "en": "I take: a tap on a button; A CODE or R CODE from a message of mine; STATUS; WHY id, what was decided"
        " and on what; DETAIL id, the incident and its question again; NOTE id text; RUN action key, which "
        "the others are asked for; RAN id, DIDNOT id or WRITEOFF id, what became of a run that is in doubt; "
        "SILENCE id 2h; HALT reason; RESUME; HANDOVER name; STOP and START. A bare yes or approve never "
        "counts.",
        "pt": "Aceito: um toque num botão; A CODIGO ou R CODIGO de uma mensagem minha; STATUS ou ESTADO; WHY id, o que "
        "se decidiu e porquê; DETAIL id, o incidente e a sua pergunta outra vez; NOTE id texto; RUN ação chave, "
        "que é pedida aos outros; RAN id, DIDNOT id ou WRITEOFF id, o que foi feito de uma execução em "
        "dúvida; SILENCE id 2h; HALT motivo; RESUME; HANDOVER nome; STOP e START. Um simples sim nunca conta.",
        "fr": "Je prends : un bouton touché ; A CODE ou R CODE d'un message de moi ; STATUS ou ETAT ; WHY id, ce qui "
        "fut décidé et sur quoi ; DETAIL id, l'incident et sa question ; NOTE id texte ; RUN action clé, demandée"
        " aux autres ; RAN id, DIDNOT id ou WRITEOFF id, le sort d'une exécution en doute ; SILENCE id 2h ; "
        "HALT motif ; RESUME ; HANDOVER nom ; STOP et START. Un simple oui ne compte jamais.",
    },
    # --- who holds the phone ---
    "no enrolment": {
        "en": "No enrolment is open for you. Ask an operator: counterfoil person enrol",
        "pt": "Não há inscrição aberta para si. Peça a um operador: counterfoil person enrol",
        "fr": "Aucune inscription n'est ouverte pour vous. Demandez à un opérateur : counterfoil person enrol",
    },
    "another word": {
        "en": "That is not the word that you were given",
        "pt": "Essa não é a palavra que lhe foi dada",
        "fr": "Ce n'est pas le mot qui vous a été donné",
    },
    "join locked": {
        "en": "Too many wrong words: wait an hour, then send the one that you were given",
        "pt": "Demasiadas palavras erradas: espere uma hora e envie a que lhe foi dada",
        "fr": "Trop de mots erronés : attendez une heure, puis envoyez celui qui vous a été donné",
    },
    "welcome": {
        "en": "Welcome {person} ({roles}): this phone is yours now. Send HELP for what I take.",
        "pt": "Seja bem-vindo, {person} ({roles}): este telefone é agora o seu. Envie HELP para saber o que aceito.",
        "fr": "Bienvenue {person} ({roles}) : ce téléphone est désormais le vôtre. Envoyez HELP pour savoir quoi dire.",
    },
    "no role": {"en": "no role", "pt": "sem papel", "fr": "sans rôle"},
    "in already": {
        "en": "You hear from me already. Send HELP for what I take.",
        "pt": "Já recebe as minhas mensagens. Envie HELP para saber o que aceito.",
        "fr": "Vous recevez déjà mes messages. Envoyez HELP pour savoir quoi dire.",
    },
    "welcome back": {
        "en": "Welcome back: you are called again from now on.",
        "pt": "De volta: volta a ser chamado a partir de agora.",
        "fr": "De retour : vous êtes de nouveau appelé désormais.",
    },
    # --- duty ---
    "on duty now": {
        "en": "You are on duty now for {roles}{until}. {open}",
        "pt": "Está agora de serviço para {roles}{until}. {open}",
        "fr": "Vous êtes maintenant de garde pour {roles}{until}. {open}",
    },
    "handed over": {
        "en": "{person} handed duty over to you: {roles}{until}. What {person} was asked, they may answer. {open}",
        "pt": "{person} passou-lhe o serviço: {roles}{until}. Ao que já lhe foi perguntado, {person} pode "
        "responder. {open}",
        "fr": "{person} vous a passé la garde : {roles}{until}. Ce qui lui fut demandé, {person} peut y répondre. "
        "{open}",
    },
    "duty vacant": {
        "en": "Nobody is on duty for {role}, and so nobody can be asked what {role} decides. Whoever takes it says "
        "HANDOVER and their own name.",
        "pt": "Ninguém está de serviço para {role}, e assim a ninguém se pode perguntar o que {role} decide. Quem o"
        " assumir diz HANDOVER e o seu próprio nome.",
        "fr": "Personne n'est de garde pour {role}, et nul ne peut être interrogé sur ce que {role} décide. Qui la "
        "prend dit HANDOVER et son propre nom.",
    },
    "over limit": {
        "en": "{count} more fire of {rules} than are watched at once ({most}), so nothing looks at them yet. Each is "
        "watched as soon as others have ended: recover or close some.",
        "pt": "Disparam mais {count} de {rules} do que se vigiam ao mesmo tempo ({most}), e ainda nada os observa. "
        "Cada um é vigiado assim que outros terminem: recupere ou feche alguns.",
        "fr": "{count} de plus se déclenchent pour {rules} qu'il n'en est surveillé à la fois ({most}), et rien ne les "
        "regarde encore. Chacun est surveillé dès que d'autres sont finis : rétablissez ou fermez-en.",
    },
    "none over limit": {
        "en": "Everything that waited for a watch is watched now.",
        "pt": "Tudo o que esperava por vigilância é agora vigiado.",
        "fr": "Tout ce qui attendait d'être surveillé l'est maintenant.",
    },
    "duty held": {
        "en": "{names} is on duty for {role} again.",
        "pt": "{names} está de novo de serviço para {role}.",
        "fr": "{names} est de nouveau de garde pour {role}.",
    },
    "everybody": {
        "en": "Everybody who has the role",
        "pt": "Quem tem o papel",
        "fr": "Quiconque a le rôle",
    },
    "until": {"en": " until {at}", "pt": " até {at}", "fr": " jusqu'à {at}"},
    "weekdays": {
        "en": "Mon Tue Wed Thu Fri Sat Sun",
        "pt": "seg ter qua qui sex sáb dom",
        "fr": "lun mar mer jeu ven sam dim",
    },
    "some open": {
        "en": "{count} open incidents: STATUS names them.",
        "pt": "{count} incidentes abertos: STATUS diz quais.",
        "fr": "{count} incidents ouverts : STATUS les nomme.",
    },
    "one open": {
        "en": "1 open incident: STATUS names them.",
        "pt": "1 incidente aberto: STATUS diz qual.",
        "fr": "1 incident ouvert : STATUS le nomme.",
    },
    "no open": {"en": "No open incidents.", "pt": "Nenhum incidente aberto.", "fr": "Aucun incident ouvert."},
}
