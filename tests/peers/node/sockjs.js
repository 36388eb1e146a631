// Talks to a SockJS service through the first transport that works and prints what happens, as a line of JSON each.
//
// node sockjs.js URL TRANSPORTS MESSAGE...: sends the messages as soon as the session is open.
// Without any it tells of heartbeats, too; what a stream begins with is one to the library.

"use strict";

const SockJS = require("sockjs-client");

const [url, transport, ...messages] = process.argv.slice(2);
const socket = new SockJS(url, null, { transports: transport.split(","), timeout: 10000 });
const say = (...event) => console.log(JSON.stringify(event));

socket.onopen = () => {
  say("open", socket.transport);
  messages.forEach((message) => socket.send(message));
};
socket.onmessage = (event) => say("message", event.data);
socket.onheartbeat = () => {
  if (!messages.length && socket.readyState === SockJS.OPEN) say("heartbeat");
};
socket.onclose = (event) => say("close", event.code, event.reason);
