// What changes, pushed, to the clients that web shops use: graphql-ws, Apollo
// Client over it, and graphql-sse. LIVE_SKU has at least 10 units for sale.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { ApolloClient, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { createClient as createSSE } from "graphql-sse";
import { CloseCode, createClient } from "graphql-ws";
import WebSocket from "ws";

const url = process.env.STAMPEDE_URL;
const sku = process.env.LIVE_SKU;
assert.ok(url && sku, "set STAMPEDE_URL and LIVE_SKU");
const socketURL = `${url.replace(/^http/, "ws")}/graphql`;

const LEVEL = "subscription Level($skus: [String!]!) { stockChanged(skus: $skus, maxPerSecond: 50) { sku available version } }";
const CHANGES = "subscription Changes($id: ID!, $after: Int) { orderChanged(id: $id, afterVersion: $after) { id state version } }";

async function call(token, query, variables) {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

async function newCustomer() {
  const credentials = { email: `live.${randomUUID()}@mail.test`, password: "an ordinary password" };
  await call(null, "mutation($input: RegisterUserInput!) { registerUser(input: $input) { userErrors { message } } }", { input: credentials });
  const { logIn } = await call(null, "mutation($input: LogInInput!) { logIn(input: $input) { tokens { accessToken } } }", { input: credentials });
  return logIn.tokens.accessToken;
}

async function place(token) {
  const { placeOrder } = await call(
    token,
    "mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id version } userErrors { message } } }",
    { input: { idempotencyKey: randomUUID(), lines: [{ sku, quantity: 1 }] } },
  );
  assert.deepEqual(placeOrder.userErrors, []);
  return placeOrder.order;
}

const pay = (token, orderId) =>
  call(token, "mutation($input: PayOrderInput!) { payOrder(input: $input) { userErrors { message } } }", {
    input: { idempotencyKey: randomUUID(), orderId, paymentToken: "tok_ok" },
  });

/** The next result of a subscription that is not an error. */
async function next(results, field) {
  const { value, done } = await results.next();
  assert.ok(!done, "it is complete");
  assert.equal(value.errors, undefined, JSON.stringify(value.errors));
  return value.data[field];
}

/** Results until one fits. */
async function until(results, field, fits) {
  for (;;) {
    const result = await next(results, field);
    if (fits(result)) return result;
  }
}

describe("subscriptions", () => {
  let alice;
  let bob;
  const clients = [];
  const connect = (token, more) => {
    const client = createClient({
      url: socketURL,
      webSocketImpl: WebSocket,
      connectionParams: token ? { authorization: `Bearer ${token}` } : {},
      retryAttempts: 0,
      ...more,
    });
    clients.push(client);
    return client;
  };

  before(async () => {
    [alice, bob] = await Promise.all([newCustomer(), newCustomer()]);
  });
  after(() => Promise.all(clients.map((client) => client.dispose())));

  test("graphql-ws: the present level, then changes", async () => {
    const levels = connect().iterate({ query: LEVEL, variables: { skus: [sku] } });
    const first = await next(levels, "stockChanged");
    assert.equal(first.sku, sku);
    await place(alice);
    const then = await until(levels, "stockChanged", (level) => level.version > first.version);
    assert.ok(then.available < first.available || then.version > first.version + 1);
    await levels.return();
  });

  test("graphql-ws: an order to its payment, and again from the version that was read", async () => {
    const order = await place(alice);
    const client = connect(alice);
    const changes = client.iterate({ query: CHANGES, variables: { id: order.id } });
    const first = await next(changes, "orderChanged");
    assert.deepEqual([first.id, first.state, first.version], [order.id, "RESERVED", order.version]);
    await pay(alice, order.id);
    const paid = await until(changes, "orderChanged", ({ state }) => state === "CONFIRMED");
    await changes.return();

    const resumed = client.iterate({ query: CHANGES, variables: { id: order.id, after: order.version } });
    const { version, state } = await next(resumed, "orderChanged");
    assert.deepEqual([version, state], [paid.version, "CONFIRMED"]);
    await resumed.return();
  });

  test("graphql-ws: nothing of somebody else's, and nothing without a log-in", async () => {
    const order = await place(alice);
    const others = connect(bob).iterate({ query: CHANGES, variables: { id: order.id } });
    assert.deepEqual(await others.next(), { done: true, value: undefined });
    const nobody = connect().iterate({ query: CHANGES, variables: { id: order.id } });
    await assert.rejects(nobody.next(), (errors) => errors[0].extensions.code === "UNAUTHENTICATED");
  });

  test("graphql-ws: a bad token is forbidden, and a good one is let in on the next attempt", async () => {
    const codes = [];
    let token = "nonsense";
    const client = connect(null, {
      retryAttempts: 1,
      retryWait: async () => {
        token = alice;
      },
      connectionParams: () => ({ authorization: `Bearer ${token}` }),
      on: { closed: ({ code }) => codes.push(code) },
    });
    const levels = client.iterate({ query: LEVEL, variables: { skus: [sku] } });
    assert.equal((await next(levels, "stockChanged")).sku, sku);
    assert.deepEqual(codes, [CloseCode.Forbidden]);
    await levels.return();
  });

  test("Apollo Client: subscribes, queries and mutates over one socket", async () => {
    const client = new ApolloClient({ link: new GraphQLWsLink(connect(alice)), cache: new InMemoryCache() });
    const seen = [];
    const changed = new Promise((resolve, reject) => {
      client.subscribe({ query: gql(LEVEL), variables: { skus: [sku] } }).subscribe({
        next: ({ data, error }) => {
          if (error) reject(error);
          seen.push(data.stockChanged.version);
          if (seen.length === 1) place(alice).catch(reject);
          if (seen.length === 2) resolve();
        },
        error: reject,
      });
    });
    await changed;
    assert.ok(seen[1] > seen[0]);
    const { data } = await client.query({ query: gql("query { me { id email } }") });
    assert.match(data.me.email, /^live\./);
    client.stop();
  });

  test("graphql-sse: the present level, then changes; errors; a query", async () => {
    const client = createSSE({ url: `${url}/graphql`, retryAttempts: 0 });
    const levels = client.iterate({ query: LEVEL, variables: { skus: [sku] } });
    const first = await next(levels, "stockChanged");
    await place(alice);
    await until(levels, "stockChanged", (level) => level.version > first.version);
    await levels.return();
    const { value } = await client.iterate({ query: CHANGES, variables: { id: "x" } }).next();
    assert.equal(value.errors[0].extensions.code, "UNAUTHENTICATED");
    const read = client.iterate({ query: "query($skus: [String!]!) { stock(skus: $skus) { sku } }", variables: { skus: [sku] } });
    assert.deepEqual(await next(read, "stock"), [{ sku }]);
    assert.equal((await read.next()).done, true);
    client.dispose();
  });
});
