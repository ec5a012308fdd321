// The storefront: products with their stock as it is now, placing an order (which holds the units), paying or cancelling it before the hold ends.
import { $, call, el, errors, money, retrying, signedIn, signIn, signOut, toast } from "./api.js";
import { liveLevels } from "./live.js";

const orderFields = `id number state version placedAt expiresAt total { amount currency } lines { sku name quantity } payment { state } rejection { message }`;
const shown = new Map(); // SKU → the elements of its card that change
const own = new Map(); // order id → the order as last seen: lists lag the orders themselves by a moment
const live = liveLevels((level) => shown.get(level.sku)?.(level.available));
let cursor = null, search = "";

async function loadProducts(reset) {
  if (reset) { cursor = null; shown.clear(); $("#products").replaceChildren(); }
  const data = await call(`query($after: String, $search: String) { products(first: 24, after: $after, search: $search) {
    edges { node { id name description imageUrl variants { sku name price { amount currency } stock { available } } } } pageInfo { hasNextPage endCursor } } }`,
    { after: cursor, search: search || null });
  for (const { node } of data.products.edges) $("#products").append(card(node));
  live.watch([...shown.keys()]);
  cursor = data.products.pageInfo.endCursor;
  $("#more").hidden = !data.products.pageInfo.hasNextPage;
  $("#empty").hidden = $("#products").childElementCount > 0;
}

function card(product) {
  const choose = el("select", { "aria-label": `Variant of ${product.name}` }, ...product.variants.map((v) => el("option", { value: v.sku }, v.name || v.sku)));
  const price = el("strong"), stock = el("span", { class: "stock" }), buy = el("button", {}, "Buy");
  const current = () => product.variants.find((v) => v.sku === choose.value);
  const show = () => {
    const v = current(), left = v.stock.available;
    price.textContent = money(v.price);
    stock.textContent = left === 0 ? "Sold out" : left <= 10 ? `Only ${left} left` : "In stock";
    stock.dataset.level = left === 0 ? "none" : left <= 10 ? "low" : "ok";
    buy.disabled = left === 0;
  };
  for (const v of product.variants) shown.set(v.sku, (available) => { v.stock.available = available; show(); });
  choose.addEventListener("change", show);
  buy.addEventListener("click", () => place(current(), buy));
  show();
  return el("li", { class: "card" },
    product.imageUrl && el("img", { src: product.imageUrl, alt: "", loading: "lazy" }),
    el("h3", {}, product.name), el("p", { class: "quiet" }, product.description ?? ""),
    product.variants.length > 1 ? choose : null,
    el("div", { class: "row" }, price, stock, el("span", { class: "grow" }), buy));
}

async function place(variant, button) {
  if (!signedIn() && !(await signIn())) return;
  await account();
  button.disabled = true;
  try {
    const input = { idempotencyKey: crypto.randomUUID(), lines: [{ sku: variant.sku, quantity: 1, expectedPrice: variant.price }] };
    const payload = await retrying(`mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { order { ${orderFields} } ${errors} } }`, { input }, "placeOrder");
    if (payload.userErrors.length) toast(payload.userErrors[0].message, true);
    else {
      keep(payload.order);
      toast(`Held for you: order ${payload.order.number}. Pay before the hold ends.`);
    }
  } catch (e) { toast(e.message, true); }
  button.disabled = false;
  await Promise.all([orders(), stock()]);
}

async function act(mutation, type, input) {
  try {
    const payload = await retrying(`mutation($input: ${type}!) { ${mutation}(input: $input) { order { ${orderFields} } ${errors} } }`, { input }, mutation);
    keep(payload.order);
    if (payload.userErrors.length) toast(payload.userErrors[0].message, true);
  } catch (e) { toast(e.message, true); }
  await Promise.all([orders(), stock()]);
}

// keep takes an order over unless a newer version of it is known.
function keep(order) {
  if (order && !(own.get(order.id)?.version > order.version)) own.set(order.id, order);
}

async function orders() {
  if (signedIn()) {
    const { me } = await call(`{ me { orders(first: 10) { edges { node { ${orderFields} } } } } }`);
    for (const { node } of me.orders.edges) keep(node);
  } else own.clear();
  showOrders();
}

function showOrders() {
  const newest = [...own.values()].sort((a, b) => b.placedAt.localeCompare(a.placedAt)).slice(0, 10);
  $("#orders-section").hidden = newest.length === 0;
  $("#orders").replaceChildren(...newest.map((o) => el("li", { class: "order" },
    el("strong", {}, o.number), el("span", { class: "state", "data-state": o.state }, o.state.toLowerCase()),
    el("span", {}, o.lines.map((l) => `${l.quantity} × ${l.name || l.sku}`).join(", ")),
    el("span", { class: "grow quiet" }, o.rejection?.message ?? ""),
    o.state === "RESERVED" ? el("span", { class: "countdown", "data-until": o.expiresAt }) : null,
    el("span", {}, money(o.total)),
    o.state === "RESERVED" ? el("button", { onclick: () => act("payOrder", "PayOrderInput", { idempotencyKey: crypto.randomUUID(), orderId: o.id, paymentToken: "tok_ok" }) }, "Pay") : null,
    o.state === "RESERVED" ? el("button", { class: "plain", onclick: () => act("cancelOrder", "CancelOrderInput", { orderId: o.id, reason: "Cancelled in the shop" }) }, "Cancel") : null)));
  countdown();
}

function countdown() {
  for (const e of document.querySelectorAll(".countdown")) {
    const left = Math.max(0, Math.round((Date.parse(e.dataset.until) - Date.now()) / 1000));
    e.textContent = left > 0 ? `held for ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "hold has ended";
  }
}

async function stock() {
  const skus = [...shown.keys()].slice(0, 100);
  if (live.on || !skus.length) return; // it is pushed
  const data = await call("query($skus: [String!]!) { stock(skus: $skus) { sku available } }", { skus });
  for (const level of data.stock) if (level) shown.get(level.sku)?.(level.available);
}

async function account() {
  const nav = $("#account");
  if (!signedIn()) {
    nav.replaceChildren(el("button", { class: "plain", onclick: async () => { if (await signIn()) await Promise.all([account(), orders()]); } }, "Sign in"));
    return;
  }
  const { me } = await call("{ me { email } }");
  nav.replaceChildren(el("span", { class: "quiet" }, me.email), el("button", { class: "plain", onclick: async () => { await signOut(); await Promise.all([account(), orders()]); } }, "Sign out"));
}

$("#search").addEventListener("submit", (e) => { e.preventDefault(); search = e.target.q.value.trim(); loadProducts(true).catch((x) => toast(x.message, true)); });
$("#more").addEventListener("click", () => loadProducts(false).catch((x) => toast(x.message, true)));
setInterval(countdown, 1000);
setInterval(() => { if (!document.hidden) Promise.all([stock(), own.size ? orders() : null]).catch(() => {}); }, 2000); // a missed update is made up by the next one
Promise.all([loadProducts(true), account(), orders()]).catch((e) => toast(e.message, true));
