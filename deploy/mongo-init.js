// Makes the replica set of docker-compose.yml if there is none, and waits until
// it takes writes. Run again, it changes nothing.
const deadline = Date.now() + 60_000;
try {
  rs.status();
} catch (e) {
  if (e.codeName !== "NotYetInitialized") throw e;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
}
while (!db.hello().isWritablePrimary) {
  if (Date.now() > deadline) throw new Error("the replica set has no primary after a minute");
  sleep(200);
}
print("the replica set takes writes");
