"""The job of an import that came over the API. It may be stopped and started again: pieces that are written stay so."""

from uuid import UUID

from sqlalchemy import select

from ehc.files.holding import held
from ehc.issuer.batch import runs
from ehc.issuer.batch.models import ImportPartRow, ImportRunRow
from ehc.issuer.batch.options import Options
from ehc.issuer.batch.uploads import piece_of
from ehc.issuer.batch.writing import Writer
from ehc.issuer.registry import registry_of
from ehc.parties import identity_authority
from ehc.place import Place


def run_import(place: Place, run_id: str) -> None:
    """Import what a client sent. Does nothing if that is done. Raises `ImportRuns` while another job is at it."""
    run = UUID(run_id)
    with held(place, run):
        options = _begun(place, run)
        if options is None:
            return
        with place.patient_work() as session:
            done = runs.written(session, run)
            kept = session.scalars(select(ImportPartRow.number).where(ImportPartRow.run_id == run))
            numbers = sorted(set(kept) - done.keys())
        authority = identity_authority(place.settings, place.clock)
        registry = registry_of(place.settings, place.secrets(), authority=authority)
        writer = Writer(place.patient_work, registry, place.clock, run, options)
        for number in numbers:
            with place.patient_work() as session:
                piece = piece_of(session, run, number, sealer=registry.secrets.sealer)
            writer.write(piece)
        with place.patient_work() as session:
            row = session.get_one(ImportRunRow, run, with_for_update=True)
            runs.finish(session, row, pieces=row.pieces or 0, now=place.clock.now())


def _begun(place: Place, run_id: UUID) -> Options | None:
    """The options of a run that is to be worked on; None if there is none, or it is done."""
    with place.patient_work() as session:
        row = session.get(ImportRunRow, run_id)
        if row is None or row.finished_at is not None:
            return None
        row.state = runs.RUNNING
        row.started_at = row.started_at or place.clock.now()
        return Options.read(row.options)
