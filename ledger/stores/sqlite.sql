-- Counterfoil's ledger in SQLite. `bytes` is the only source: every other column but the key is generated from it.
-- Rules stand in triggers, not in CHECKs: PRAGMA ignore_check_constraints switches a CHECK off, not a trigger.
-- WITHOUT ROWID: otherwise INSERT OR REPLACE INTO entry(rowid, ...) with an old rowid silently removes that row.
-- The tables stage, settlement and office are filled from ledger/accounts.py and frozen (see the end).

CREATE TABLE stage (name TEXT PRIMARY KEY, opens TEXT, must_settle INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE settlement (stage TEXT NOT NULL, book TEXT NOT NULL, PRIMARY KEY (stage, book)) STRICT, WITHOUT ROWID;
CREATE TABLE office (stage TEXT NOT NULL, actor TEXT NOT NULL, PRIMARY KEY (stage, actor)) STRICT, WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
  tenant   TEXT    NOT NULL,
  n        INTEGER NOT NULL,
  bytes    TEXT    NOT NULL,
  id       TEXT    GENERATED ALWAYS AS (json_extract(bytes, '$.id')) VIRTUAL,
  stage    TEXT    GENERATED ALWAYS AS (json_extract(bytes, '$.stage')) VIRTUAL,
  actor    TEXT    GENERATED ALWAYS AS (json_extract(bytes, '$.actor')) VIRTUAL,
  at       TEXT    GENERATED ALWAYS AS (json_extract(bytes, '$.timestamp')) VIRTUAL,
  incident TEXT    GENERATED ALWAYS AS (json_extract(bytes, '$.incident_id')) VIRTUAL,
  settles  INTEGER GENERATED ALWAYS AS (json_extract(bytes, '$.settles')) VIRTUAL,
  PRIMARY KEY (tenant, n)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entry_id       ON entry (tenant, id);
CREATE UNIQUE INDEX entry_settles  ON entry (tenant, settles) WHERE settles IS NOT NULL;
CREATE INDEX        entry_incident ON entry (incident, stage) WHERE incident IS NOT NULL;
CREATE INDEX        entry_stage    ON entry (stage, tenant);
-- In the rules below `+tenant` keeps SQLite from walking the tenant's whole log by the primary key. A test plans every
-- subquery and allows no such walk.

-- 1. Nothing is changed or taken out.
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'an entry is never changed'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'an entry is never deleted'); END;

-- 2. Incidents: one DETECTED each; nothing that leads to an action beside a closed one; nothing open behind a close.
CREATE TRIGGER entry_detected BEFORE INSERT ON entry WHEN NEW.stage = 'DETECTED' BEGIN
  SELECT RAISE(ABORT, 'incident: missing or already detected')
   WHERE NEW.incident IS NULL
      OR EXISTS (SELECT 1 FROM entry WHERE +tenant = NEW.tenant AND incident = NEW.incident AND stage = 'DETECTED');
END;
CREATE TRIGGER entry_open_incident BEFORE INSERT ON entry
  WHEN NEW.stage IN ('PROPOSED', 'AUTHORIZED', 'DISPATCHED', 'CONSULTED') BEGIN
  SELECT RAISE(ABORT, 'incident: not open')
   WHERE NOT EXISTS (SELECT 1 FROM entry d
                      WHERE +d.tenant = NEW.tenant AND d.incident = NEW.incident AND d.stage = 'DETECTED'
                        AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.tenant = NEW.tenant AND c.settles = d.n));
END;
CREATE TRIGGER entry_close BEFORE INSERT ON entry WHEN NEW.stage IN ('RECOVERED', 'CLOSED') BEGIN
  SELECT RAISE(ABORT, 'incident: a proposal or authorization is outstanding')
   WHERE EXISTS (SELECT 1 FROM entry o
                  WHERE +o.tenant = NEW.tenant AND o.incident = NEW.incident AND o.stage IN ('PROPOSED', 'AUTHORIZED')
                    AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.tenant = NEW.tenant AND c.settles = o.n));
END;
CREATE TRIGGER entry_proposed BEFORE INSERT ON entry WHEN NEW.stage = 'PROPOSED' BEGIN
  SELECT CASE
    WHEN json_type(NEW.bytes, '$.body.digest') IS NOT 'text'
      OR length(json_extract(NEW.bytes, '$.body.digest')) IS NOT 64
      THEN RAISE(ABORT, 'proposal: no digest')
    WHEN json_type(NEW.bytes, '$.body.expires_at') IS NOT 'text'
      OR json_extract(NEW.bytes, '$.body.expires_at') NOT GLOB
         '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
      OR json_extract(NEW.bytes, '$.body.expires_at') <= NEW.at
      OR json_type(NEW.bytes, '$.body.authorize_until') IS NOT 'text'
      OR json_extract(NEW.bytes, '$.body.authorize_until') NOT GLOB
         '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
      OR json_extract(NEW.bytes, '$.body.authorize_until') < json_extract(NEW.bytes, '$.body.expires_at')
      OR strftime('%s', json_extract(NEW.bytes, '$.body.authorize_until'))
         - strftime('%s', json_extract(NEW.bytes, '$.body.expires_at')) IS NULL
      OR strftime('%s', json_extract(NEW.bytes, '$.body.authorize_until'))
         - strftime('%s', json_extract(NEW.bytes, '$.body.expires_at')) > 120
      THEN RAISE(ABORT, 'proposal: no expiry')
    WHEN json_type(NEW.bytes, '$.body.approvers') IS NOT 'array'
      OR json_type(NEW.bytes, '$.body.quorum') IS NOT 'integer'
      OR json_extract(NEW.bytes, '$.body.quorum') < 1
      OR json_extract(NEW.bytes, '$.body.quorum') >
         (SELECT count(DISTINCT value) FROM json_each(NEW.bytes, '$.body.approvers'))
      THEN RAISE(ABORT, 'proposal: quorum cannot be met')
    WHEN EXISTS (SELECT 1 FROM entry o
                  WHERE +o.tenant = NEW.tenant AND o.incident = NEW.incident
                    AND o.stage IN ('PROPOSED', 'AUTHORIZED', 'DISPATCHED', 'UNRESOLVED')
                    AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.tenant = NEW.tenant AND c.settles = o.n))
      THEN RAISE(ABORT, 'proposal: one at a time')
  END;
END;

-- 3. An answer counts only for an outstanding proposal, in time, from a person that the proposal names.
CREATE TRIGGER entry_answer BEFORE INSERT ON entry WHEN NEW.stage IN ('APPROVED', 'DECLINED') BEGIN
  SELECT CASE
    WHEN NOT EXISTS (SELECT 1 FROM entry p
                      WHERE p.tenant = NEW.tenant AND p.n = json_extract(NEW.bytes, '$.cites[0]')
                        AND p.stage = 'PROPOSED' AND p.incident = NEW.incident
                        AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.tenant = NEW.tenant AND c.settles = p.n))
      THEN RAISE(ABORT, 'answer: no outstanding proposal')
    WHEN NOT EXISTS (SELECT 1 FROM entry p, json_each(p.bytes, '$.body.approvers') a
                      WHERE p.tenant = NEW.tenant AND p.n = json_extract(NEW.bytes, '$.cites[0]')
                        AND 'engineer:' || a.value = NEW.actor)
      THEN RAISE(ABORT, 'answer: not an approver')
    WHEN NEW.at >= (SELECT json_extract(p.bytes, '$.body.expires_at') FROM entry p
                     WHERE p.tenant = NEW.tenant AND p.n = json_extract(NEW.bytes, '$.cites[0]'))
      THEN RAISE(ABORT, 'answer: too late')
  END;
END;

-- 4. Law 3: a human authorizes. AUTHORIZED cites the APPROVED entries that it rests on.
CREATE TRIGGER entry_authorized BEFORE INSERT ON entry WHEN NEW.stage = 'AUTHORIZED' BEGIN
  SELECT CASE
    WHEN (SELECT count(DISTINCT a.actor) FROM json_each(NEW.bytes, '$.cites') c
            CROSS JOIN entry a ON a.tenant = NEW.tenant AND a.n = CAST(c.value AS INTEGER)
           WHERE a.stage = 'APPROVED' AND json_extract(a.bytes, '$.cites[0]') = NEW.settles)
       < (SELECT json_extract(p.bytes, '$.body.quorum') FROM entry p WHERE p.tenant = NEW.tenant AND p.n = NEW.settles)
      THEN RAISE(ABORT, 'authorization: no quorum')
    WHEN NOT EXISTS (SELECT 1 FROM json_each(NEW.bytes, '$.cites') c
            CROSS JOIN entry a ON a.tenant = NEW.tenant AND a.n = CAST(c.value AS INTEGER)
           WHERE a.stage = 'APPROVED' AND a.actor = NEW.actor AND json_extract(a.bytes, '$.cites[0]') = NEW.settles)
      THEN RAISE(ABORT, 'authorization: not by one who approved')
    WHEN EXISTS (SELECT 1 FROM entry d
                  WHERE +d.tenant = NEW.tenant AND d.incident = NEW.incident AND d.stage = 'DECLINED'
                    AND json_extract(d.bytes, '$.cites[0]') = NEW.settles)
      THEN RAISE(ABORT, 'authorization: declined')
    WHEN NEW.at > (SELECT json_extract(p.bytes, '$.body.authorize_until') FROM entry p
                    WHERE p.tenant = NEW.tenant AND p.n = NEW.settles)
      THEN RAISE(ABORT, 'authorization: too late')
  END;
END;
CREATE TRIGGER entry_expired BEFORE INSERT ON entry WHEN NEW.stage = 'EXPIRED' BEGIN
  SELECT CASE
    WHEN NEW.at < (SELECT json_extract(p.bytes, '$.body.expires_at') FROM entry p
                    WHERE p.tenant = NEW.tenant AND p.n = NEW.settles) THEN RAISE(ABORT, 'expiry: not yet')
    WHEN NEW.at <= (SELECT json_extract(p.bytes, '$.body.authorize_until') FROM entry p
                     WHERE p.tenant = NEW.tenant AND p.n = NEW.settles)
     AND (SELECT count(DISTINCT a.actor) FROM entry a
           WHERE +a.tenant = NEW.tenant AND a.incident = NEW.incident AND a.stage = 'APPROVED'
             AND json_extract(a.bytes, '$.cites[0]') = NEW.settles)
      >= (SELECT json_extract(p.bytes, '$.body.quorum') FROM entry p WHERE p.tenant = NEW.tenant AND p.n = NEW.settles)
      THEN RAISE(ABORT, 'expiry: the quorum was met in time')
  END;
END;

-- 5. Law 4: exactly what was proposed, in time, not while halted, one execution of an incident at a time.
CREATE TRIGGER entry_dispatched BEFORE INSERT ON entry WHEN NEW.stage = 'DISPATCHED' BEGIN
  SELECT CASE
    WHEN json_extract(NEW.bytes, '$.body.digest') IS NOT
         (SELECT json_extract(p.bytes, '$.body.digest')
            FROM entry a JOIN entry p ON p.tenant = a.tenant AND p.n = a.settles
           WHERE a.tenant = NEW.tenant AND a.n = NEW.settles) THEN RAISE(ABORT, 'dispatch: not what was proposed')
    WHEN EXISTS (SELECT 1 FROM entry h WHERE +h.tenant = NEW.tenant AND h.stage = 'HALTED'
           AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.tenant = NEW.tenant AND c.settles = h.n))
      THEN RAISE(ABORT, 'dispatch: halted')
    WHEN NEW.at > (SELECT json_extract(p.bytes, '$.body.authorize_until')
                     FROM entry a JOIN entry p ON p.tenant = a.tenant AND p.n = a.settles
                    WHERE a.tenant = NEW.tenant AND a.n = NEW.settles) THEN RAISE(ABORT, 'dispatch: too late')
    WHEN EXISTS (SELECT 1 FROM entry o
                  WHERE +o.tenant = NEW.tenant AND o.incident = NEW.incident AND o.stage IN ('DISPATCHED', 'UNRESOLVED')
                    AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.tenant = NEW.tenant AND c.settles = o.n))
      THEN RAISE(ABORT, 'dispatch: one at a time')
  END;
END;
CREATE TRIGGER entry_resumed BEFORE INSERT ON entry WHEN NEW.stage = 'RESUMED' BEGIN
  SELECT RAISE(ABORT, 'resume: takes another person')
   WHERE substr(NEW.actor, instr(NEW.actor, ':') + 1) =
         (SELECT substr(actor, instr(actor, ':') + 1) FROM entry WHERE tenant = NEW.tenant AND n = NEW.settles);
END;
CREATE TRIGGER entry_adopted BEFORE INSERT ON entry WHEN NEW.stage = 'ADOPTED' BEGIN
  SELECT RAISE(ABORT, 'policy: this version has other contents')
   WHERE EXISTS (SELECT 1 FROM entry a
                  WHERE +a.tenant = NEW.tenant AND a.stage = 'ADOPTED'
                    AND json_extract(a.bytes, '$.policy_version') IS json_extract(NEW.bytes, '$.policy_version')
                    AND json_extract(a.bytes, '$.body.name') IS json_extract(NEW.bytes, '$.body.name')
                    AND json_extract(a.bytes, '$.policy_digest') IS NOT json_extract(NEW.bytes, '$.policy_digest'));
END;

-- The next key of the log names the one that it retires, and no key comes back. That the old key vouches for the new one
-- is in the checkpoint's signatures, which the database cannot read.
CREATE TRIGGER entry_rekeyed BEFORE INSERT ON entry WHEN NEW.stage = 'REKEYED' BEGIN
  SELECT CASE
    WHEN json_type(NEW.bytes, '$.body.key') IS NOT 'text' THEN RAISE(ABORT, 'key: missing')
    WHEN json_extract(NEW.bytes, '$.body.retires') IS NOT
         (SELECT json_extract(k.bytes, '$.body.key') FROM entry k
           WHERE +k.tenant = NEW.tenant AND k.stage IN ('OPENED', 'REKEYED') ORDER BY k.n DESC LIMIT 1)
      THEN RAISE(ABORT, 'key: retires another than the one in force')
    WHEN EXISTS (SELECT 1 FROM entry k
                  WHERE +k.tenant = NEW.tenant AND k.stage IN ('OPENED', 'REKEYED')
                    AND json_extract(k.bytes, '$.body.key') IS json_extract(NEW.bytes, '$.body.key'))
      THEN RAISE(ABORT, 'key: was in force before')
  END;
END;

-- 6. DECLINED comes together with the REJECTED of its proposal: that is the next entry, and no checkpoint is signed
--    before it stands (see 9).
CREATE TRIGGER entry_together BEFORE INSERT ON entry WHEN NEW.n > 0 BEGIN
  SELECT RAISE(ABORT, 'DECLINED: comes with REJECTED')
    FROM entry d WHERE d.tenant = NEW.tenant AND d.n = NEW.n - 1 AND d.stage = 'DECLINED'
     AND NOT (NEW.stage IS 'REJECTED' AND NEW.settles IS json_extract(d.bytes, '$.cites[0]'));
END;

-- SQLite runs the trigger that was made last first, so these two speak before the others.
-- 7. The form of every entry. Uniqueness must be checked here and not only by the indexes: INSERT OR REPLACE resolves
--    a conflict of any unique index (id and settles too) by removing the older row.
CREATE TRIGGER entry_form BEFORE INSERT ON entry BEGIN
  SELECT CASE
    WHEN NEW.n IS NOT (SELECT coalesce(max(n), -1) + 1 FROM entry WHERE tenant = NEW.tenant)
      THEN RAISE(ABORT, 'number: not the next')
    WHEN NOT json_valid(NEW.bytes) THEN RAISE(ABORT, 'bytes: not JSON')
    WHEN length(CAST(NEW.bytes AS BLOB)) > 65535 THEN RAISE(ABORT, 'bytes: too long')
    WHEN json_extract(NEW.bytes, '$.index') IS NOT NEW.n THEN RAISE(ABORT, 'index: differs from its number')
    WHEN json_extract(NEW.bytes, '$.tenant_id') IS NOT NEW.tenant THEN RAISE(ABORT, 'tenant: differs')
    WHEN json_extract(NEW.bytes, '$.ledger') IS NOT (SELECT value FROM meta WHERE name = 'origin')
      THEN RAISE(ABORT, 'ledger: another origin')
    WHEN json_type(NEW.bytes, '$.id') IS NOT 'text' OR NEW.id = '' THEN RAISE(ABORT, 'id: missing')
    WHEN EXISTS (SELECT 1 FROM entry WHERE tenant = NEW.tenant AND id = NEW.id) THEN RAISE(ABORT, 'id: already posted')
    WHEN NEW.at IS NULL OR NEW.at NOT GLOB
         '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]Z'
      THEN RAISE(ABORT, 'timestamp: form')
    WHEN NEW.n > 0 AND NEW.at < (SELECT at FROM entry WHERE tenant = NEW.tenant AND n = NEW.n - 1)
      THEN RAISE(ABORT, 'timestamp: backwards')
    WHEN (NEW.n = 0) IS NOT (NEW.stage IS 'OPENED') THEN RAISE(ABORT, 'OPENED: is entry 0, and only that')
    WHEN NOT EXISTS (SELECT 1 FROM office WHERE stage = NEW.stage
                      AND actor = substr(NEW.actor, 1, instr(NEW.actor || ':', ':') - 1))
      THEN RAISE(ABORT, 'actor: may not post this stage')
    WHEN substr(NEW.actor, 1, instr(NEW.actor || ':', ':') - 1) IN ('engineer', 'operator', 'executor', 'carrier')
         AND instr(NEW.actor || ':', ':') >= length(NEW.actor) THEN RAISE(ABORT, 'actor: has no name')
    WHEN NEW.actor GLOB 'policy:*' OR NEW.actor GLOB 'claude:*' OR NEW.actor GLOB 'alertmanager:*'
         OR NEW.actor GLOB 'system:*' THEN RAISE(ABORT, 'actor: has no name of its own')
    WHEN NEW.settles IS NULL AND (SELECT must_settle FROM stage WHERE name = NEW.stage)
      THEN RAISE(ABORT, 'settles: this stage must settle')
    WHEN json_type(NEW.bytes, '$.cites') IS NOT 'array' OR json_type(NEW.bytes, '$.body') IS NOT 'object'
         OR json_type(NEW.bytes, '$.blobs') IS NOT 'array' THEN RAISE(ABORT, 'form: cites, body or blobs')
    WHEN json_extract(NEW.bytes, '$.cites') <> '[]' AND EXISTS (
           SELECT 1 FROM json_each(NEW.bytes, '$.cites') c
            WHERE c.type <> 'integer' OR c.value < 0 OR c.value >= NEW.n) THEN RAISE(ABORT, 'cites: no such entry')
  END;
END;

-- 8. A settlement: of something, of this tenant, in the right book, of the same incident, once.
CREATE TRIGGER entry_settle BEFORE INSERT ON entry WHEN NEW.settles IS NOT NULL BEGIN
  SELECT CASE
    WHEN json_type(NEW.bytes, '$.settles') IS NOT 'integer' OR NEW.settles >= NEW.n OR NEW.settles < 0
      THEN RAISE(ABORT, 'settles: nothing')
    WHEN NOT EXISTS (SELECT 1 FROM entry t CROSS JOIN stage s ON s.name = t.stage
                      CROSS JOIN settlement r ON r.book = s.opens AND r.stage = NEW.stage
                      WHERE t.tenant = NEW.tenant AND t.n = NEW.settles)
      THEN RAISE(ABORT, 'settles: not an obligation that this stage settles')
    WHEN EXISTS (SELECT 1 FROM entry WHERE tenant = NEW.tenant AND settles = NEW.settles)
      THEN RAISE(ABORT, 'settles: already settled')
    WHEN (SELECT incident FROM entry WHERE tenant = NEW.tenant AND n = NEW.settles) IS NOT NULL
     AND (SELECT incident FROM entry WHERE tenant = NEW.tenant AND n = NEW.settles) IS NOT NEW.incident
      THEN RAISE(ABORT, 'settles: another incident')
  END;
END;

-- 9. Checkpoints: one a commit, inside the same transaction, never smaller.
CREATE TABLE checkpoint (tenant TEXT NOT NULL, size INTEGER NOT NULL, note TEXT NOT NULL, PRIMARY KEY (tenant, size))
  STRICT, WITHOUT ROWID;
CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON checkpoint
  BEGIN SELECT RAISE(ABORT, 'a checkpoint is never changed'); END;
CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint
  BEGIN SELECT RAISE(ABORT, 'a checkpoint is never deleted'); END;
CREATE TRIGGER checkpoint_form BEFORE INSERT ON checkpoint BEGIN
  SELECT CASE
    WHEN NEW.size IS NOT (SELECT max(n) + 1 FROM entry WHERE tenant = NEW.tenant)
      THEN RAISE(ABORT, 'checkpoint: not the size of the ledger')
    WHEN EXISTS (SELECT 1 FROM checkpoint WHERE tenant = NEW.tenant AND size = NEW.size)
      THEN RAISE(ABORT, 'checkpoint: already signed')
    WHEN (SELECT stage FROM entry WHERE tenant = NEW.tenant AND n = NEW.size - 1) IS 'DECLINED'
      THEN RAISE(ABORT, 'DECLINED: comes with REJECTED')
  END;
END;

-- 10. Blobs: under the digest of their bytes (sha256_hex is given by our own connection), never changed.
CREATE TABLE blob (tenant TEXT NOT NULL, digest TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (tenant, digest))
  STRICT, WITHOUT ROWID;
CREATE TRIGGER blob_no_update BEFORE UPDATE ON blob BEGIN SELECT RAISE(ABORT, 'a blob is never changed'); END;
CREATE TRIGGER blob_no_delete BEFORE DELETE ON blob BEGIN SELECT RAISE(ABORT, 'a blob is never deleted'); END;
CREATE TRIGGER blob_form BEFORE INSERT ON blob BEGIN
  SELECT CASE
    WHEN EXISTS (SELECT 1 FROM blob WHERE tenant = NEW.tenant AND digest = NEW.digest)
      THEN RAISE(ABORT, 'blob: already there')
    WHEN NEW.digest IS NOT sha256_hex(NEW.data) THEN RAISE(ABORT, 'blob: not its digest')
  END;
END;

CREATE VIEW outstanding AS
  SELECT e.tenant, s.opens AS book, e.n, e.incident, e.at, e.bytes
    FROM stage s CROSS JOIN entry e INDEXED BY entry_stage ON e.stage = s.name
   WHERE s.opens IS NOT NULL AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.tenant = e.tenant AND c.settles = e.n);
