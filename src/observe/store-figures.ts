import type { StoreReport } from '../store/store.ts';
import { part, type Labelled, type Part } from './figures.ts';

/** published = written + superseded + dropped + queued, at every moment. */
export function storePart(read: () => StoreReport): Part<StoreReport> {
  return part(read, [
    {
      name: 'sightline_store_changes_published_total',
      kind: 'counter',
      help: 'Changes that were to be written to the store',
      read: ({ published }) => published,
    },
    {
      name: 'sightline_store_changes_total',
      kind: 'counter',
      help: 'Changes by what became of them; superseded: a newer one of the same record came first',
      labels: ['outcome'],
      read: ({ written, superseded, dropped }): Labelled[] => [
        [['written'], written],
        [['superseded'], superseded],
        ...Object.entries(dropped).map(([cause, count]): Labelled => [[cause], count]),
      ],
    },
    {
      name: 'sightline_store_changes_queued',
      kind: 'gauge',
      help: 'Changes that wait to be written',
      read: ({ queued }) => queued,
    },
    {
      name: 'sightline_store_usable',
      kind: 'gauge',
      help: '1: the store can be written, or is not meant to be; 0: it cannot, and changes wait in memory',
      read: ({ fault }) => (fault === null ? 1 : 0),
    },
    {
      name: 'sightline_store_bytes',
      kind: 'gauge',
      unit: 'bytes',
      help: 'Size of the database, without its log',
      read: ({ bytes }) => bytes,
    },
    {
      name: 'sightline_store_records_pruned_total',
      kind: 'counter',
      help: 'Records of the history that were removed because of their number, their age, or the size of the file',
      read: ({ pruned }) => pruned,
    },
  ]);
}
