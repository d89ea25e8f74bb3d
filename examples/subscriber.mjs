// Prints every micro-expression event of a running session. Needs `npm install zeromq`.
import { Subscriber } from "zeromq"

const reader = new Subscriber()
reader.connect(process.argv[2] ?? "tcp://127.0.0.1:5571")
reader.subscribe("sfam/")
for await (const [topic, header] of reader) {
  const message = JSON.parse(header)
  if (String(topic).endsWith("/event"))
    console.log(message.state, message.kind, message.emotion, message.onset.frame)
  else if (String(topic).endsWith("/session") && ["ended", "failed"].includes(message.state)) break
}
reader.close()
