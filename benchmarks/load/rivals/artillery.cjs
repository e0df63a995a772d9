// Artillery counts a WebSocket's messages but does not time them: these two steps, before a message goes out and after
// its answer came, do.
module.exports = {
  begin(context, events, next) {
    context.vars.number = (context.vars.number ?? -1) + 1;
    context.vars.begun = performance.now();
    next();
  },
  end(context, events, next) {
    events.emit("histogram", "latency", performance.now() - context.vars.begun);
    next();
  },
};
