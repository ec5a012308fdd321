// Stock levels as they change: one WebSocket (graphql-transport-ws), opened again when it is lost, later each time, and closed while nobody looks at the page.
const levels = "subscription($skus: [String!]!) { stockChanged(skus: $skus, maxPerSecond: 10) { sku available version } }";
const atOnce = 100; // SKUs of one subscription

// liveLevels calls show(level) for every SKU that is watched. While `on` is false nothing is pushed, and whoever wants to know must ask.
export function liveLevels(show) {
  let socket = null, wanted = [], open = [], failures = 0, numbered = 0;
  const live = { on: false, watch(skus) { wanted = skus; if (live.on) subscribe(); } };
  const send = (message) => socket.send(JSON.stringify(message));

  function subscribe() {
    for (const id of open) send({ id, type: "complete" });
    open = [];
    for (let i = 0; i < wanted.length; i += atOnce) {
      const id = String(++numbered);
      open.push(id);
      send({ id, type: "subscribe", payload: { query: levels, variables: { skus: wanted.slice(i, i + atOnce) } } });
    }
  }

  function connect() {
    if (socket || document.hidden) return;
    socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/graphql", "graphql-transport-ws");
    socket.onopen = () => send({ type: "connection_init" });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "ping") send({ type: "pong" });
      else if (message.type === "connection_ack") { live.on = true; failures = 0; open = []; subscribe(); }
      else if (message.type === "next" && message.payload.data) show(message.payload.data.stockChanged);
      else if (message.type === "error") socket.close(); // too much is going on: again, later
    };
    socket.onclose = () => {
      socket = null; live.on = false;
      setTimeout(connect, Math.min(1000 * 2 ** failures++, 30_000) * (0.5 + Math.random() / 2));
    };
  }

  document.addEventListener("visibilitychange", () => { if (document.hidden) socket?.close(); else connect(); });
  connect();
  return live;
}
