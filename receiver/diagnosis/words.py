"""The words that the reading of claims knows. Pure."""

from __future__ import annotations


def listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words of the trade. In the place of a name they name nothing; any other word there has to stand in what is cited.
ORDINARY = listed(
    """
about above after all also and any around approximately are as at available availability average backlog bandwidth
because before below best both busy but by bytes cache capacity cause change clients client clock code collecting
collection connection connections consumption containers count cpu currently data database demand deploy deployment
disk double down duration during each egress either empty error errors every evidence failure failures fault faults
few fewer finally first for free from full further garbage growth half handshakes heap here highest host hour how
however idle if in incident increase ingress initially instance instances into it items its jobs lag last latencies
latency least less likely limit load lock locks lookups lowest maybe mean meanwhile median memory message messages
minute minutes more moreover most nearly neither network never no node nodes none nor normal not nothing now number of
on once one onto only or other out over part peak percentile perhaps pod pods pool pools possibly probably probe
process processes processor quarter queries query queue rate rates ratio reads release request requests response
responses restart restarted restarts retries rollout roughly saturation second seconds server servers service services
session sessions share since size slot so space speed start still success swap than that the their them then there
these they third this those threads three threshold throughput thus time timeouts times to today total traffic
transaction transactions triple twice two under until up usage use user users utc utilisation utilization value values
version volume wait waits what when where which while why with within without work workers worst writes yesterday zero
"""
)
VERBS = listed(
    """
answered answers are became become began can came counts did do does done drops dropped expired expires failed fails
fell grew grows had has have held hold holds is keep keeps kept lags lay left lie lies looks made may might could need
needs peaked ran reached reaches rise rose run runs seems seen shows spends spent stands stood succeeded succeeds take
taken takes took used uses wait waits was went were will would
"""
)
EMPTY = listed("a an and are as at by for from in is it its of on or s than that the to was were with")
UP = listed(
    """
rise rises rose risen rising grow grows grew grown growing increase increases increased climb climbs climbed up jump
jumps jumped soared doubled tripled quadrupled
"""
)
DOWN = listed(
    """
fall falls fell fallen falling shrink shrinks shrank shrunk drop drops dropped decline declines declined decrease
decreases decreased sank sinks down halved
"""
)
ABOUT = listed("about around approximately roughly nearly almost some circa ca")
CLAUSES = listed("and but while whereas since because which")
NOT_COUNTED = listed(
    """
a an and as at after against available before but by during earlier for from full in into is it its later now of old
on only or per than that the their then there to until was were when where which while with within without
"""
)
ABOVE = listed("more higher longer greater larger bigger faster later")
BELOW = listed("less fewer lower shorter smaller earlier")
GONE = listed("gone missing lost disappeared vanished")
LEFT = listed("left idle free spare remaining")
RANGES = listed("lay moved varied ranged between")
# Beside these a number is a name: a status, a port, a quantile.
CONTEXT = listed("code status http answer answers answered port quantile percentile version returns returned")
AS_MUCH = listed("that as more the what higher longer greater bigger faster its larger slower")
PER = listed("a an per each every")
# Beginnings of words in titles and claims.
GOOD = ("succe", "availab", "ok", "healthy")
BAD = ("fail", "error", "fault", "unavailab", "broken")
CHANGES = ("growth", "change", "delta", "deriv", "increase", "decrease", "trend")
ROLES = {
    **dict.fromkeys(listed("peak peaked peaking peaks highest maximum max reached topped"), "max"),
    **dict.fromkeys(listed("lowest minimum min"), "min"),
    **dict.fromkeys(listed("initially originally beginning"), "start"),
    **dict.fromkeys(listed("now currently moment still presently"), "now"),
    **dict.fromkeys(listed("average averaged averages mean"), "mean"),
}
ROLES_AFTER_AT = {"most": "max", "least": "min", "first": "start", "start": "start", "best": "best", "worst": "worst"}

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
SMALL = {word: number for number, word in enumerate(_SMALL.split())}
_TENS = "ten twenty thirty forty fifty sixty seventy eighty ninety"
TENS = {word: 10 * number for number, word in enumerate(_TENS.split(), 1) if number > 1}
LARGE = {"dozen": 12, "hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9}
POWERS = {"k": 3, "thousand": 3, "million": 6, "mio": 6, "billion": 9}
FOLD = {"doubled": 2, "twice": 2, "tripled": 3, "trebled": 3, "quadrupled": 4, "quintupled": 5}
PARTS = {"half": 2, "third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10, "hundredth": 100}
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
MONTHS = {name: number for number, name in enumerate(_MONTHS.split(), 1)}
