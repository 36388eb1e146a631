// A chat over WebSockets whose server only knows HTTP: express with serve-grip's middleware.
//
// node chat.mjs PORT CONTROL_URL: prints, as a line of JSON each, what happens, "listening" first.

import express from "express";
import { WebSocketMessageFormat } from "@fanoutio/grip";
import { ServeGrip } from "@fanoutio/serve-grip";

const [port, control] = process.argv.slice(2);
const say = (...event) => console.log(JSON.stringify(event));

const app = express();
const grip = new ServeGrip({
  grip: { control_uri: control, verify_key: "changeme" },
  gripProxyRequired: true,
  // For publishing only; the route of the proxy prepends the same to channels.
  prefix: "chat-",
});
app.use(grip);

// A message {"nick": ...} names its sender, one with a text or a picture goes to everybody in the room.
async function take(socket, room, message) {
  const { nick, text, picture, detach } = JSON.parse(message);
  if (nick !== undefined) {
    socket.meta.nick = nick;
    socket.send(JSON.stringify({ welcome: nick }));
  } else if (detach) {
    socket.detach();
  } else if (picture !== undefined) {
    const bytes = Buffer.from(picture, "base64");
    await grip.getPublisher().publishFormats(room, new WebSocketMessageFormat(bytes));
  } else {
    const line = JSON.stringify({ from: socket.meta.nick ?? "somebody", text });
    await grip.getPublisher().publishFormats(room, new WebSocketMessageFormat(line));
  }
}

app.post("/rooms/:room", async (request, response) => {
  const { wsContext: socket, isSigned } = request.grip;
  const { room } = request.params;
  if (socket === null) {
    response.status(400).send("not a WebSocket\n");
    return;
  }
  if (room === "secret") {
    response.status(403).send("members only\n");
    return;
  }
  if (socket.isOpening()) {
    socket.accept();
    socket.subscribe(room);
    say("open", isSigned);
  }
  while (socket.canRecv()) {
    let message;
    try {
      message = socket.recv();
    } catch {
      say("lost", socket.meta.nick ?? null);
      break;
    }
    if (message === null) {
      say("closed", socket.closeCode);
      // As in every example of these libraries: without a code.
      socket.close();
      break;
    }
    await take(socket, room, message);
  }
  response.end();
});

app.get("/rooms/:room", (request, response) => {
  const hold = response.grip.startInstruct();
  hold.addChannel(request.params.room);
  hold.setHoldStream();
  response.set("Content-Type", "text/plain").end("listening\n");
});

app.listen(Number(port), "127.0.0.1", () => say("listening"));
