// An ordinary client: Apollo Client, as a web shop uses it, against the server
// at STAMPEDE_URL. It registers, logs in, reads the catalogue, places, pays,
// cancels and reads orders, with the normalised cache and the pagination that
// Apollo Client brings along. SKU has at least 10 units for sale.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";

import { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { SetContextLink } from "@apollo/client/link/context";
import { relayStylePagination } from "@apollo/client/utilities";
import { filter, firstValueFrom } from "rxjs";

const url = process.env.STAMPEDE_URL;
const sku = process.env.SKU;
assert.ok(url && sku, "set STAMPEDE_URL and SKU");

const email = `apollo.${randomUUID()}@mail.test`;
const password = "an ordinary password";

/** A client like any shop's; token() is asked before each request. */
function newClient(token = () => undefined) {
  const authorization = new SetContextLink(({ headers }) => {
    const value = token();
    return { headers: value ? { ...headers, authorization: `Bearer ${value}` } : headers };
  });
  return new ApolloClient({
    link: authorization.concat(new HttpLink({ uri: `${url}/graphql` })),
    cache: new InMemoryCache({
      possibleTypes: {
        Node: ["User", "Product", "Order"],
        UserError: ["GenericError", "InsufficientStock", "CustomerLimit", "RetryLater", "VersionConflict"],
      },
      typePolicies: { User: { fields: { orders: relayStylePagination() } } },
    }),
  });
}

/** The first whole result of a watched query. */
const whole = (watched) => firstValueFrom(watched.pipe(filter((result) => result.dataState === "complete")));

const userErrors = gql`
  fragment Errors on UserError {
    code
    message
    field
    ... on InsufficientStock {
      sku
      requested
      available
    }
    ... on RetryLater {
      retryAfterMs
    }
  }
`;

const orderParts = gql`
  fragment OrderParts on Order {
    id
    number
    state
    total {
      amount
      currency
    }
    payment {
      state
    }
    lines {
      sku
      quantity
      unitPrice {
        amount
      }
      skuVersion
    }
  }
`;

const REGISTER = gql`
  mutation Register($input: RegisterUserInput!) {
    registerUser(input: $input) {
      user {
        id
        email
        roles
      }
      userErrors {
        ...Errors
      }
    }
  }
  ${userErrors}
`;

const LOG_IN = gql`
  mutation LogIn($input: LogInInput!) {
    logIn(input: $input) {
      tokens {
        accessToken
        refreshToken
        expiresAt
      }
      userErrors {
        ...Errors
      }
    }
  }
  ${userErrors}
`;

const CATALOGUE = gql`
  query Catalogue($first: Int!) {
    products(first: $first) {
      edges {
        node {
          id
          name
          variants {
            sku
            price {
              amount
              currency
            }
            stock {
              available
              version
            }
          }
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;

const PLACE = gql`
  mutation Place($input: PlaceOrderInput!) {
    placeOrder(input: $input) {
      order {
        ...OrderParts
      }
      userErrors {
        ...Errors
      }
    }
  }
  ${orderParts}
  ${userErrors}
`;

const PAY = gql`
  mutation Pay($input: PayOrderInput!) {
    payOrder(input: $input) {
      order {
        ...OrderParts
      }
      userErrors {
        ...Errors
      }
    }
  }
  ${orderParts}
  ${userErrors}
`;

const CANCEL = gql`
  mutation Cancel($input: CancelOrderInput!) {
    cancelOrder(input: $input) {
      order {
        ...OrderParts
      }
      userErrors {
        ...Errors
      }
    }
  }
  ${orderParts}
  ${userErrors}
`;

const ORDER = gql`
  query Order($id: ID!) {
    order(id: $id) {
      ...OrderParts
    }
  }
  ${orderParts}
`;

const MY_ORDERS = gql`
  query MyOrders($after: String) {
    me {
      id
      orders(first: 2, after: $after) {
        edges {
          cursor
          node {
            id
            state
          }
        }
        pageInfo {
          hasNextPage
          hasPreviousPage
          startCursor
          endCursor
        }
      }
    }
  }
`;

describe("a shopper with Apollo Client", () => {
  let session;
  const client = newClient(() => session?.accessToken);

  /** The payload of a mutation that must succeed. */
  async function mutate(mutation, input, field) {
    const { data, error } = await client.mutate({ mutation, variables: { input } });
    assert.equal(error, undefined);
    assert.deepEqual(data[field].userErrors, []);
    return data[field];
  }

  before(async () => {
    const { user } = await mutate(REGISTER, { email, password, name: "Apollo" }, "registerUser");
    assert.equal(user.email, email);
    assert.deepEqual(user.roles, ["CUSTOMER"]);
    const { tokens } = await mutate(LOG_IN, { email, password }, "logIn");
    session = tokens;
    assert.ok(new Date(tokens.expiresAt) > new Date());
  });

  test("reads the catalogue", async () => {
    const { data } = await client.query({ query: CATALOGUE, variables: { first: 20 } });
    const variants = data.products.edges.flatMap((edge) => edge.node.variants);
    const found = variants.find((variant) => variant.sku === sku);
    assert.ok(found, `${sku} is not among ${variants.length} variants`);
    assert.match(found.price.amount, /^\d+\.\d{2}$/);
    assert.ok(found.stock.available >= 1);
  });

  test("places and pays an order, and its cache follows", async () => {
    const input = { idempotencyKey: randomUUID(), lines: [{ sku, quantity: 2 }] };
    const { order } = await mutate(PLACE, input, "placeOrder");
    assert.equal(order.state, "RESERVED");
    assert.equal(order.lines[0].quantity, 2);
    assert.ok(order.lines[0].skuVersion > 0);
    assert.equal(Number(order.total.amount), 2 * Number(order.lines[0].unitPrice.amount));

    // A component that shows the order is told of the payment by the cache alone.
    const states = [];
    const watched = client.watchQuery({ query: ORDER, variables: { id: order.id } });
    const watching = watched.subscribe(({ data }) => data?.order && states.push(data.order.state));
    try {
      await whole(watched);
      const paid = await mutate(PAY, { idempotencyKey: randomUUID(), orderId: order.id, paymentToken: "tok_ok" }, "payOrder");
      assert.equal(paid.order.id, order.id);
      assert.equal(paid.order.state, "CONFIRMED");
      assert.deepEqual([states.at(0), states.at(-1)], ["RESERVED", "CONFIRMED"]);
    } finally {
      watching.unsubscribe();
    }

    const again = await mutate(PLACE, input, "placeOrder");
    assert.equal(again.order.id, order.id, "the same key is the same order");

    const read = await client.query({ query: ORDER, variables: { id: order.id }, fetchPolicy: "network-only" });
    assert.equal(read.data.order.state, "CONFIRMED");
    assert.equal(read.data.order.number, order.number);
  });

  test("a refusal is data, typed", async () => {
    const { data, error } = await client.mutate({
      mutation: PLACE,
      variables: { input: { idempotencyKey: randomUUID(), lines: [{ sku, quantity: 10_000 }] } },
    });
    assert.equal(error, undefined);
    const [refusal] = data.placeOrder.userErrors;
    assert.equal(refusal.__typename, "InsufficientStock");
    assert.equal(refusal.code, "INSUFFICIENT_STOCK");
    assert.equal(refusal.requested, 10_000);
    assert.deepEqual(refusal.field, ["lines", "0", "quantity"]);
  });

  test("pages through its orders", async () => {
    const { order } = await mutate(PLACE, { idempotencyKey: randomUUID(), lines: [{ sku, quantity: 1 }] }, "placeOrder");
    const cancelled = await mutate(CANCEL, { orderId: order.id, reason: "changed my mind" }, "cancelOrder");
    assert.equal(cancelled.order.state, "CANCELLED");

    // Lists follow by a moment: three orders were placed, one of them rejected.
    const deadline = Date.now() + 20_000;
    for (;;) {
      const shop = newClient(() => session.accessToken);
      const list = shop.watchQuery({ query: MY_ORDERS });
      const watching = list.subscribe(() => {});
      try {
        let page = (await whole(list)).data.me.orders.pageInfo;
        for (let pages = 0; page.hasNextPage && pages < 5; pages++) {
          const more = await list.fetchMore({ variables: { after: page.endCursor } });
          page = more.data.me.orders.pageInfo;
        }
        // The cache has joined the pages to one list.
        const { edges } = shop.readQuery({ query: MY_ORDERS }).me.orders;
        const states = edges.map((edge) => edge.node.state);
        if (states.join() === "CANCELLED,REJECTED,CONFIRMED") return;
        assert.ok(Date.now() < deadline, `the list still is ${states}`);
      } finally {
        watching.unsubscribe();
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });

  test("a stranger is told to log in", async () => {
    await assert.rejects(
      newClient().query({ query: MY_ORDERS }).then(({ data, error }) => {
        if (error) throw error;
        return data;
      }),
      (error) => CombinedGraphQLErrors.is(error) && error.errors[0].extensions.code === "UNAUTHENTICATED",
    );
  });
});
