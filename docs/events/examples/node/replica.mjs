// A consumer to copy: it keeps a replica of a shop's stock in a JSON file and
// counts the units that were sold, each exactly once, whatever is published
// again and however often this program is killed.
//
//   npm ci && BROKERS=127.0.0.1:9092 FILE=replica.json node replica.mjs
//
// How that comes about:
//  - The position of each partition is in the file, which is replaced as a whole:
//    it moves together with what the events did, or not at all.
//  - An event that was seen is known by its sequence: of each SKU the highest one
//    that was taken is kept, and what is not above it is a repeat.
//  - The file is this process's own, so its group has no other member. To share
//    the work, keep positions and stock in one database, as the Go example does.
import { open, readFile, rename } from 'node:fs/promises';
import kafkajs from 'kafkajs';
import { compressFrameSync, decompressFrameSync } from 'lz4-napi';

const { Kafka, CompressionCodecs, CompressionTypes, logLevel } = kafkajs;
const topic = 'stampede.stock.v1';
const brokers = (process.env.BROKERS ?? '127.0.0.1:9092').split(',');
const file = process.env.FILE ?? 'replica.json';
const EARLIEST = '-2'; // the oldest message that there is
let saving = Promise.resolve();

// The shop compresses with lz4, which kafkajs leaves to others.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => compressFrameSync(encoder.buffer),
  decompress: async buffer => decompressFrameSync(buffer),
});

const replica = await load();
const consumer = new Kafka({ clientId: 'stock-replica-node', brokers, logLevel: logLevel.WARN })
  .consumer({ groupId: process.env.GROUP ?? 'stock-replica-node', sessionTimeout: 6_000, heartbeatInterval: 1_000, maxWaitTimeInMs: 250, allowAutoTopicCreation: false });

// Where to go on is what the file says; the offsets in Kafka are for those who
// watch the consumer's lag.
consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
  for (const partition of payload.memberAssignment[topic] ?? []) {
    consumer.seek({ topic, partition, offset: replica.positions[partition] ?? EARLIEST });
  }
});
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await consumer.run({
  eachBatchAutoResolve: false,
  eachBatch: async ({ batch, resolveOffset }) => {
    const { partition } = batch;
    let last;
    for (const message of batch.messages) {
      if (BigInt(message.offset) < BigInt(replica.positions[partition] ?? 0)) continue; // the seek was overtaken
      try {
        take(message);
      } catch (error) {
        console.error(`${topic}/${partition}@${message.offset}:`, error);
        process.exit(1); // nothing of this batch was saved
      }
      last = message.offset;
      replica.positions[partition] = String(BigInt(last) + 1n);
    }
    if (last === undefined) return;
    await save();
    resolveOffset(last);
  },
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await consumer.disconnect();
    process.exit(0);
  });
}

// take does what an event says, in memory.
function take({ key, headers, value }) {
  const sku = key.toString();
  const sequence = Number(headers.ce_sequence.toString());
  const known = replica.stock[sku];
  if (known && sequence <= known.sequence) return; // a repeat: its effect is there
  if (known && sequence !== known.sequence + 1) {
    throw new Error(`${sku}: event ${sequence} follows ${known.sequence}: some are lost, ask for them with "stampede events replay"`);
  }
  const event = JSON.parse(value.toString());
  const { onHand, available, held, committed, unavailable } = event.level;
  const sold = (known?.sold ?? 0) + (headers.ce_type.toString() === 'ReservationConfirmed' ? event.quantity : 0);
  replica.stock[sku] = { sequence, sold, onHand, available, held, committed, unavailable };
}

async function load() {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return { positions: {}, stock: {} };
  }
}

// save replaces the file: after a crash there is the old one or the new one.
// Batches come from several partitions at a time, so saves wait for each other.
function save() {
  const written = saving.then(async () => {
    const fresh = await open(`${file}.new`, 'w');
    try {
      await fresh.writeFile(JSON.stringify(replica));
      await fresh.sync();
    } finally {
      await fresh.close();
    }
    await rename(`${file}.new`, file);
  });
  saving = written.catch(() => {}); // it is told by written
  return written;
}
