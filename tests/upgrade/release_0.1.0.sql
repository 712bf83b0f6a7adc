-- kumofire_fsm 0.1.0, written at 1767225862008
BEGIN TRANSACTION;
CREATE TABLE kumofire_bodies (
  owner TEXT NOT NULL,
  kind TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (owner, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO "kumofire_bodies" VALUES('019b76de-9fa3-7676-ae61-16c6e9c9bf35','payload',1202,'"large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large "');
INSERT INTO "kumofire_bodies" VALUES('019b76de-9fa3-7676-ae61-16c6e9c9bf35','result',1202,'"large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large "');
INSERT INTO "kumofire_bodies" VALUES('019b76de-9fa4-79f3-83e6-93114351d407','payload',1202,'"large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large "');
CREATE TABLE kumofire_controls (
  job TEXT PRIMARY KEY NOT NULL,
  paused_at INTEGER,
  slots INTEGER,
  said_by TEXT,
  note TEXT,
  updated_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE kumofire_edges (
  machine TEXT NOT NULL,
  source TEXT NOT NULL,
  target TEXT NOT NULL,
  wakes INTEGER NOT NULL,
  PRIMARY KEY (machine, source, target)
) STRICT, WITHOUT ROWID;
INSERT INTO "kumofire_edges" VALUES('job','','active',1);
INSERT INTO "kumofire_edges" VALUES('job','active','active',1);
INSERT INTO "kumofire_edges" VALUES('job','active','ended',0);
INSERT INTO "kumofire_edges" VALUES('job','active','paused',0);
INSERT INTO "kumofire_edges" VALUES('job','active','suspended',0);
INSERT INTO "kumofire_edges" VALUES('job','ended','active',1);
INSERT INTO "kumofire_edges" VALUES('job','paused','active',1);
INSERT INTO "kumofire_edges" VALUES('job','paused','ended',0);
INSERT INTO "kumofire_edges" VALUES('job','paused','paused',0);
INSERT INTO "kumofire_edges" VALUES('job','suspended','active',1);
INSERT INTO "kumofire_edges" VALUES('job','suspended','ended',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','','review',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','canceled','ready',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','canceling','canceled',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','canceling','canceling',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','canceling','succeeded',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','failed','ready',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','held','canceled',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','held','held',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','held','queued',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','held','ready',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','queued','canceled',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','queued','held',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','queued','queued',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','queued','ready',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','queued','running',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','ready','canceled',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','ready','held',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','ready','queued',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','ready','ready',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','ready','running',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','retrying','canceled',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','retrying','held',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','retrying','queued',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','retrying','retrying',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','retrying','running',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','review','canceled',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','review','ready',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','running','canceled',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','running','canceling',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','running','failed',0);
INSERT INTO "kumofire_edges" VALUES('reviewed','running','queued',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','running','ready',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','running','retrying',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','running','running',1);
INSERT INTO "kumofire_edges" VALUES('reviewed','running','succeeded',0);
INSERT INTO "kumofire_edges" VALUES('run','','queued',1);
INSERT INTO "kumofire_edges" VALUES('run','','ready',1);
INSERT INTO "kumofire_edges" VALUES('run','canceled','ready',1);
INSERT INTO "kumofire_edges" VALUES('run','canceling','canceled',0);
INSERT INTO "kumofire_edges" VALUES('run','canceling','canceling',1);
INSERT INTO "kumofire_edges" VALUES('run','canceling','succeeded',0);
INSERT INTO "kumofire_edges" VALUES('run','failed','ready',1);
INSERT INTO "kumofire_edges" VALUES('run','held','canceled',0);
INSERT INTO "kumofire_edges" VALUES('run','held','held',1);
INSERT INTO "kumofire_edges" VALUES('run','held','queued',1);
INSERT INTO "kumofire_edges" VALUES('run','held','ready',1);
INSERT INTO "kumofire_edges" VALUES('run','queued','canceled',0);
INSERT INTO "kumofire_edges" VALUES('run','queued','held',1);
INSERT INTO "kumofire_edges" VALUES('run','queued','queued',1);
INSERT INTO "kumofire_edges" VALUES('run','queued','ready',1);
INSERT INTO "kumofire_edges" VALUES('run','queued','running',1);
INSERT INTO "kumofire_edges" VALUES('run','ready','canceled',0);
INSERT INTO "kumofire_edges" VALUES('run','ready','held',1);
INSERT INTO "kumofire_edges" VALUES('run','ready','queued',1);
INSERT INTO "kumofire_edges" VALUES('run','ready','ready',1);
INSERT INTO "kumofire_edges" VALUES('run','ready','running',1);
INSERT INTO "kumofire_edges" VALUES('run','retrying','canceled',0);
INSERT INTO "kumofire_edges" VALUES('run','retrying','held',1);
INSERT INTO "kumofire_edges" VALUES('run','retrying','queued',1);
INSERT INTO "kumofire_edges" VALUES('run','retrying','retrying',1);
INSERT INTO "kumofire_edges" VALUES('run','retrying','running',1);
INSERT INTO "kumofire_edges" VALUES('run','running','canceled',0);
INSERT INTO "kumofire_edges" VALUES('run','running','canceling',1);
INSERT INTO "kumofire_edges" VALUES('run','running','failed',0);
INSERT INTO "kumofire_edges" VALUES('run','running','queued',1);
INSERT INTO "kumofire_edges" VALUES('run','running','ready',1);
INSERT INTO "kumofire_edges" VALUES('run','running','retrying',1);
INSERT INTO "kumofire_edges" VALUES('run','running','running',1);
INSERT INTO "kumofire_edges" VALUES('run','running','succeeded',0);
CREATE TABLE kumofire_paces (
  job TEXT NOT NULL,
  key TEXT NOT NULL,
  paced_to INTEGER NOT NULL,
  paced_by TEXT NOT NULL,
  PRIMARY KEY (job, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE kumofire_runs (
  id TEXT PRIMARY KEY NOT NULL,
  machine TEXT NOT NULL,
  state TEXT NOT NULL,
  wake_at INTEGER,
  job TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2),
  run_at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  starts INTEGER NOT NULL,
  claim TEXT,
  shared INTEGER NOT NULL,
  suspect INTEGER NOT NULL,
  deliveries INTEGER NOT NULL,
  timeout_at INTEGER,
  expires_at INTEGER,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  dedupe TEXT,
  dedupe_key TEXT,
  dedupe_slot TEXT,
  concurrency_key TEXT,
  schedule_id TEXT,
  scheduled_for INTEGER,
  payload TEXT,
  result TEXT,
  error TEXT,
  progress TEXT,
  tags TEXT,
  history TEXT NOT NULL,
  -- Of a flow's instance: where it is, how often a step was entered, and what it was told. NULL for all others.
  step TEXT,
  visit INTEGER,
  letters INTEGER,
  mail TEXT,
  letter TEXT,
  keys TEXT,
  undo TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO "kumofire_runs" VALUES('019b76da-a800-75b1-a522-4a58b791f1d8','run','queued',1767225980002,'work',1,1767225860002,0,1,2,NULL,1,2,0,NULL,NULL,1767225600000,1767225730002,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"kept suspect"',NULL,'the lease ran out: the worker died, or was too slow to renew it',NULL,'["succeeded"]','[["create","ready",1767225600000],["enqueue","queued",1767225600000],["start","running",1767225600002],["lose","retrying",1767225730002],["enqueue","queued",1767225730002],["start","running",1767225730002],["lose","retrying",1767225860002],["enqueue","queued",1767225860002]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76da-a801-703e-a1cd-c4bb86c32710','run','queued',1767225980002,'work',1,1767225860002,0,1,2,NULL,1,2,0,NULL,NULL,1767225600001,1767225730002,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"kept beside"',NULL,'the lease ran out: the worker died, or was too slow to renew it',NULL,'["succeeded"]','[["create","ready",1767225600001],["enqueue","queued",1767225600001],["start","running",1767225600002],["lose","retrying",1767225730002],["enqueue","queued",1767225730002],["start","running",1767225730002],["lose","retrying",1767225860002],["enqueue","queued",1767225860002]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa2-73d8-9173-6110e578cea6','run','succeeded',NULL,'work',1,1767225860002,1,3,1,'357e44cd3129903a',1,0,0,NULL,NULL,1767225860002,1767225860004,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,'"small"','"small"',NULL,NULL,'["succeeded"]','[["create","ready",1767225860002],["enqueue","queued",1767225860002],["start","running",1767225860004],["succeed","succeeded",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa3-7676-ae61-16c6e9c9bf35','run','succeeded',NULL,'work',1,1767225860003,1,3,1,'357e44cd3129903a',1,0,0,NULL,NULL,1767225860003,1767225860004,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,'','',NULL,NULL,'["succeeded"]','[["create","ready",1767225860003],["enqueue","queued",1767225860003],["start","running",1767225860004],["succeed","succeeded",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-7079-91b9-87376f071287','reviewed','review',1767225890004,'reviewed',1,1767225860004,0,3,0,NULL,0,0,0,NULL,NULL,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"reviewed"',NULL,NULL,NULL,'["succeeded"]','[["create","review",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-71d4-9597-a242fdf12b1a','run','queued',1767225980004,'work',1,1767225860004,0,3,0,NULL,0,0,0,NULL,NULL,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"ünï":["🦶",null,1.5]}',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-73e6-b605-b99e830648a6','run','ready',1767229370004,'work',1,1767229460004,0,3,0,NULL,0,0,0,NULL,NULL,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"later"',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-766c-b0e4-b2b3f4d5ca63','run','failed',NULL,'work',1,1767225860004,1,3,1,'357e44cd3129903a',1,0,0,NULL,NULL,1767225860004,1767225860004,1767225860004,'active','was active',NULL,NULL,NULL,NULL,'"fails"',NULL,'Fail: as planned
Traceback (most recent call last):
  File "tests/upgrade/make_release.py", line 48, in work
    raise Fail("as planned")
kumofire_fsm.signals.Fail: as planned',NULL,'["failed"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004],["start","running",1767225860004],["fail","failed",1767225860004,{"error":"Fail: as planned"}]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-76d2-896e-760e819b24c3','run','canceled',NULL,'work',1,1767225860004,0,3,0,NULL,0,0,0,NULL,NULL,1767225860004,NULL,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,'1',NULL,NULL,NULL,'["canceled"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004],["cancel","canceled",1767225860004,{"by":"ana","note":"by mistake"}]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-7971-a4c4-a6058a0022b2','run','ready',1767225980004,'work',1,1767225860004,0,3,0,NULL,0,0,0,NULL,NULL,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004],["cancel","canceled",1767225860004,{"by":"ana","note":"by mistake"}],["redrive","ready",1767225860004,{"by":"ana"}]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-798a-98e1-cf999661bdaf','run','queued',1767226102008,'work',1,1767225860004,0,3,0,NULL,0,0,1,NULL,NULL,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"unsent"',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-79f3-83e6-93114351d407','run','queued',1767225980004,'work',1,1767225860004,0,3,0,NULL,0,0,0,NULL,NULL,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-7c2e-8718-822ce47c4107','run','succeeded',NULL,'work',1,1767225860004,1,3,1,'357e44cd3129903a',1,0,0,NULL,NULL,1767225860004,1767225860004,1767225860004,'forever','for ever','for ever',NULL,NULL,NULL,'"keyed"','"keyed"',NULL,NULL,'["succeeded"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004],["start","running",1767225860004],["succeed","succeeded",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-7dc8-8038-8fe881c31970','run','running',1767225930005,'work',1,1767225860004,1,3,1,'ef3f6df0148ded7e',0,0,0,1767225930005,NULL,1767225860004,1767225860005,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"kept alone"',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004],["start","running",1767225860005]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-7de5-8472-433d2e44b6b8','run','ready',1767226040004,'work',1,1767225920004,0,3,1,'357e44cd3129903a',1,0,0,NULL,NULL,1767225860004,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"snoozes"',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004],["start","running",1767225860004],["snooze","ready",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-7e02-9a8a-3f415b026cf0','run','ready',1767226070004,'work',1,1767226160004,0,3,0,NULL,0,0,0,NULL,NULL,1767225860004,NULL,NULL,'active','active','active',NULL,NULL,NULL,'"held"',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa4-7f0e-b337-420c13f80f6c','run','queued',1767225980004,'work',1,1767225920004,0,3,0,NULL,0,0,0,NULL,1767225980004,1767225860004,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"too late"',NULL,NULL,NULL,'["succeeded", "canceled"]','[["create","ready",1767225860004],["enqueue","queued",1767225860004]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa5-7989-afed-755980058a6a','run','running',1767225990007,'work',1,1767225860005,1,3,1,'b48c14ec53676da4',1,0,0,1767225990007,NULL,1767225860005,1767225860007,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"kept one"',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860005],["enqueue","queued",1767225860005],["start","running",1767225860007]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa5-7a34-888d-396cab3b7f58','run','running',1767225930005,'keyed',1,1767225860005,1,3,1,'9a78cdc29492a875',0,0,0,1767225930005,NULL,1767225860005,1767225860005,NULL,NULL,NULL,NULL,'tenant:7',NULL,NULL,'"kept "',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860005],["enqueue","queued",1767225860005],["start","running",1767225860005]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa5-7f11-9a3b-3df245ad0238','run','held',1767226160005,'keyed',1,1767225860005,0,3,0,NULL,0,0,0,NULL,NULL,1767225860005,NULL,NULL,NULL,NULL,NULL,'tenant:7',NULL,NULL,'"behind"',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860005],["enqueue","queued",1767225860005],["hold_back","held",1767225860005]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa6-7e82-abd6-f0a890ea738e','run','running',1767225990007,'work',1,1767225860006,1,3,1,'b48c14ec53676da4',1,0,0,1767225990007,NULL,1767225860006,1767225860007,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"kept other"',NULL,NULL,NULL,'["succeeded"]','[["create","ready",1767225860006],["enqueue","queued",1767225860006],["start","running",1767225860007]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-9fa7-7f9e-9919-878d972f1da1','run','canceling',1767225890008,'work',1,1767225860007,1,3,1,'305317feed6740b9',0,0,0,1767225890008,NULL,1767225860007,1767225860008,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"kept canceling"',NULL,NULL,NULL,'["canceled"]','[["create","ready",1767225860007],["enqueue","queued",1767225860007],["start","running",1767225860008],["cancel","canceling",1767225860008]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "kumofire_runs" VALUES('019b76de-a778-75fd-9930-1d8fa94dbe48','run','retrying',1767225984008,'work',1,1767225864008,1,3,1,'a1ae6b96681c34f9',0,0,0,NULL,NULL,1767225862008,1767225862008,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'"retries"',NULL,'ValueError: the first time
Traceback (most recent call last):
  File "tests/upgrade/make_release.py", line 50, in work
    raise ValueError("the first time")
ValueError: the first time',NULL,'["succeeded"]','[["create","ready",1767225862008],["enqueue","queued",1767225862008],["start","running",1767225862008],["retry","retrying",1767225862008,{"error":"ValueError: the first time"}]]',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE kumofire_schedules (
  id TEXT PRIMARY KEY NOT NULL,
  machine TEXT NOT NULL,
  state TEXT NOT NULL,
  wake_at INTEGER,
  schedule_key TEXT,
  job TEXT NOT NULL,
  next_at INTEGER,
  last_at INTEGER,
  tick TEXT,
  revision INTEGER NOT NULL,
  origin TEXT,
  made INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0,
  skipped_at INTEGER,
  skipped_why TEXT,
  catch_up TEXT,
  schedule TEXT NOT NULL,
  template TEXT NOT NULL,
  payload TEXT,
  error TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  history TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "kumofire_schedules" VALUES('019b76de-9fa8-7668-b480-fc91baef9bf7','job','suspended',NULL,'broken','work',1767225861008,NULL,NULL,1,NULL,0,0,NULL,NULL,NULL,'{}','{"max_attempts":null,"tags":["succeeded"]}','"broken"','InvalidSchedule: the stored recurrence cannot be used: it has neither an expression with its zone, nor an interval, nor an instant
kumofire_fsm.errors.InvalidSchedule: it has neither an expression with its zone, nor an interval, nor an instant

The above exception was the direct cause of the following exception:

kumofire_fsm.errors.InvalidSchedule: the stored recurrence cannot be used: it has neither an expression with its zone, nor an interval, nor an instant',1767225860008,1767225860008,'[["create","active",1767225860008],["suspend","suspended",1767225862008]]');
INSERT INTO "kumofire_schedules" VALUES('019b76de-9fa8-7833-b3b8-4e0f27f910b6','job','paused',NULL,'paused','work',1767226460008,NULL,NULL,1,NULL,0,0,NULL,NULL,NULL,'{"every_ms":600000,"anchor_ms":1767225860008}','{"max_attempts":null,"tags":["succeeded"]}','"paused"',NULL,1767225860008,1767225860008,'[["create","active",1767225860008],["pause","paused",1767225860008]]');
INSERT INTO "kumofire_schedules" VALUES('019b76de-9fa8-7934-8f6c-f6c1f9817dd4','job','ended',NULL,'ended','work',1767226460008,NULL,NULL,1,NULL,0,0,NULL,NULL,NULL,'{"every_ms":600000,"anchor_ms":1767225860008}','{"max_attempts":null,"tags":["succeeded"]}','"ended"',NULL,1767225860008,1767225860008,'[["create","active",1767225860008],["end","ended",1767225860008]]');
INSERT INTO "kumofire_schedules" VALUES('019b76de-9fa8-7adc-bebe-f6822b5544e5','job','active',1767226460008,'every','work',1767226460008,NULL,NULL,1,NULL,0,0,NULL,NULL,NULL,'{"every_ms":600000,"anchor_ms":1767225860008}','{"max_attempts":null,"tags":["succeeded"]}','"large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large large "',NULL,1767225860008,1767225860008,'[["create","active",1767225860008]]');
INSERT INTO "kumofire_schedules" VALUES('019b76de-9fa8-7d74-a5dc-b03de04bf21e','job','active',1767226200000,'cron','work',1767226200000,NULL,NULL,1,NULL,0,0,NULL,NULL,NULL,'{"cron":"*/10 * * * *","timezone":"Asia/Kolkata"}','{"max_attempts":null,"tags":["succeeded"]}','"cron"',NULL,1767225860008,1767225860008,'[["create","active",1767225860008]]');
CREATE TABLE kumofire_schema (
  version INTEGER PRIMARY KEY,
  serves INTEGER NOT NULL
) STRICT;
INSERT INTO "kumofire_schema" VALUES(1,1);
CREATE INDEX kumofire_runs_wake ON kumofire_runs (state, priority, job, machine, wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX kumofire_runs_failed ON kumofire_runs (state, job) WHERE state = 'failed';
CREATE INDEX kumofire_runs_suspect ON kumofire_runs (wake_at) WHERE suspect >= 2;
CREATE INDEX kumofire_runs_keys ON kumofire_runs (job, concurrency_key, state) WHERE concurrency_key IS NOT NULL AND wake_at IS NOT NULL;
CREATE UNIQUE INDEX kumofire_runs_dedupe ON kumofire_runs (job, dedupe_slot) WHERE dedupe_slot IS NOT NULL;
CREATE UNIQUE INDEX kumofire_runs_occurrence ON kumofire_runs (schedule_id, scheduled_for) WHERE schedule_id IS NOT NULL;
CREATE INDEX kumofire_paces_whole ON kumofire_paces (paced_to) WHERE key <> '';
CREATE INDEX kumofire_schedules_wake ON kumofire_schedules (state, job, machine, wake_at) WHERE wake_at IS NOT NULL;
CREATE UNIQUE INDEX kumofire_schedules_key ON kumofire_schedules (schedule_key) WHERE schedule_key IS NOT NULL;
CREATE INDEX kumofire_schedules_origin ON kumofire_schedules (origin) WHERE origin IS NOT NULL;
CREATE TRIGGER kumofire_runs_insert BEFORE INSERT ON kumofire_runs WHEN NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = '' AND target = NEW.state AND wakes = (NEW.wake_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: a row may not be created in this state'); END;
CREATE TRIGGER kumofire_runs_move BEFORE UPDATE OF state ON kumofire_runs WHEN NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = OLD.state AND target = NEW.state AND wakes = (NEW.wake_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: the machine has no such edge'); END;
CREATE TRIGGER kumofire_runs_wake BEFORE UPDATE OF wake_at ON kumofire_runs WHEN OLD.state = NEW.state AND (OLD.wake_at IS NULL) <> (NEW.wake_at IS NULL) BEGIN SELECT RAISE(ABORT, 'kumofire: wake_at must be set exactly while a deadline runs'); END;
CREATE TRIGGER kumofire_runs_fixed BEFORE UPDATE OF id, created_at, schedule_id, scheduled_for ON kumofire_runs BEGIN SELECT RAISE(ABORT, 'kumofire: id, created_at, schedule_id and scheduled_for never change'); END;
CREATE TRIGGER kumofire_runs_version BEFORE UPDATE OF machine ON kumofire_runs WHEN NEW.machine <> OLD.machine AND NOT (EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = 'from:' || OLD.machine) AND EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND target = 'step:' || NEW.step)) BEGIN SELECT RAISE(ABORT, 'kumofire: a run keeps its machine, but for a later version of its flow'); END;
CREATE TRIGGER kumofire_runs_begin BEFORE INSERT ON kumofire_runs WHEN NEW.step IS NOT NULL AND NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = 'step:' AND target = 'step:' || NEW.step) BEGIN SELECT RAISE(ABORT, 'kumofire: a flow may not begin at this step'); END;
CREATE TRIGGER kumofire_runs_step BEFORE UPDATE OF step ON kumofire_runs WHEN NEW.step IS NOT OLD.step AND NEW.machine = OLD.machine AND NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source IN ('step:' || OLD.step, iif(OLD.finished_at IS NOT NULL AND NEW.finished_at IS NULL, 'step:*', '')) AND target = 'step:' || NEW.step) BEGIN SELECT RAISE(ABORT, 'kumofire: the flow has no such edge'); END;
CREATE TRIGGER kumofire_schedules_insert BEFORE INSERT ON kumofire_schedules WHEN NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = '' AND target = NEW.state AND wakes = (NEW.wake_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: a row may not be created in this state'); END;
CREATE TRIGGER kumofire_schedules_move BEFORE UPDATE OF state ON kumofire_schedules WHEN NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = NEW.machine AND source = OLD.state AND target = NEW.state AND wakes = (NEW.wake_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: the machine has no such edge'); END;
CREATE TRIGGER kumofire_schedules_wake BEFORE UPDATE OF wake_at ON kumofire_schedules WHEN OLD.state = NEW.state AND (OLD.wake_at IS NULL) <> (NEW.wake_at IS NULL) BEGIN SELECT RAISE(ABORT, 'kumofire: wake_at must be set exactly while a deadline runs'); END;
CREATE TRIGGER kumofire_schedules_fixed BEFORE UPDATE OF id, machine, created_at, schedule_key ON kumofire_schedules BEGIN SELECT RAISE(ABORT, 'kumofire: id, machine, created_at and schedule_key never change'); END;
CREATE TRIGGER kumofire_runs_replace BEFORE INSERT ON kumofire_runs WHEN EXISTS (SELECT 1 FROM kumofire_runs WHERE id = NEW.id AND (created_at <> NEW.created_at OR NEW.starts > 0 OR NEW.finished_at IS NOT NULL)) BEGIN SELECT RAISE(ABORT, 'kumofire: the row exists, and changes along its edges alone'); END;
CREATE TRIGGER kumofire_runs_repeat BEFORE INSERT ON kumofire_runs WHEN EXISTS (SELECT 1 FROM kumofire_runs WHERE id = NEW.id AND created_at = NEW.created_at AND NEW.starts = 0 AND NEW.finished_at IS NULL) OR EXISTS (SELECT 1 FROM kumofire_runs WHERE job = NEW.job AND dedupe_slot = NEW.dedupe_slot AND id <> NEW.id) OR EXISTS (SELECT 1 FROM kumofire_runs WHERE schedule_id = NEW.schedule_id AND scheduled_for = NEW.scheduled_for AND id <> NEW.id) BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER kumofire_runs_slot BEFORE UPDATE OF job, dedupe_slot ON kumofire_runs WHEN NEW.dedupe_slot IS NOT NULL AND (NEW.dedupe_slot IS NOT OLD.dedupe_slot OR NEW.job <> OLD.job) AND EXISTS (SELECT 1 FROM kumofire_runs WHERE job = NEW.job AND dedupe_slot = NEW.dedupe_slot AND id <> NEW.id) BEGIN SELECT RAISE(ABORT, 'kumofire: another run has this dedupe_slot'); END;
CREATE TRIGGER kumofire_schedules_replace BEFORE INSERT ON kumofire_schedules WHEN EXISTS (SELECT 1 FROM kumofire_schedules WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'kumofire: the row exists, and changes along its edges alone'); END;
CREATE TRIGGER kumofire_schedules_repeat BEFORE INSERT ON kumofire_schedules WHEN EXISTS (SELECT 1 FROM kumofire_schedules WHERE schedule_key = NEW.schedule_key AND id <> NEW.id) BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER kumofire_runs_settled BEFORE UPDATE OF state, wake_at, priority, run_at, attempt, max_attempts, starts, claim, shared, suspect, deliveries, timeout_at, expires_at, started_at, finished_at, dedupe, dedupe_key, dedupe_slot, concurrency_key, payload, result, error, progress, tags, history, step, visit, letters, mail, letter, keys, undo ON kumofire_runs WHEN OLD.finished_at IS NOT NULL AND NEW.state = OLD.state AND NOT EXISTS (SELECT 1 FROM kumofire_edges WHERE machine = OLD.machine AND source = OLD.state AND target = OLD.state) BEGIN SELECT RAISE(ABORT, 'kumofire: the run is settled, and changes along its edges alone'); END;
COMMIT;
