// Request a run: a producer of video.encoded in JavaScript.
//
//     npm install kafkajs
//     node request_run.mjs localhost:9092 TENANT_ID VIDEO_ID VERSION FRAME_COUNT [TOPIC_PREFIX]
//
// The key is the video's id. A record with the same event_id is the same request, so it is harmless to send it again.
import { randomUUID } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";

const [brokers, tenantId, videoId, version, frameCount, prefix = ""] = process.argv.slice(2);
const producer = new Kafka({ clientId: "example", brokers: brokers.split(","), logLevel: logLevel.ERROR }).producer();
const event = {
  schema_version: 1,
  tenant_id: tenantId,
  video_id: videoId,
  cropped_frames_version: Number(version),
  frame_count: Number(frameCount),
  event_id: randomUUID(),
};
await producer.connect();
const [sent] = await producer.send({
  topic: `${prefix}video.encoded`,
  acks: -1,
  messages: [{ key: videoId, value: JSON.stringify(event) }],
});
await producer.disconnect();
console.log(JSON.stringify({ event_id: event.event_id, partition: sent.partition, offset: sent.baseOffset }));
