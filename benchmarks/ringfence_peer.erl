%% The same workloads on Erlang/OTP: gen_server cast and call, supervisor, pg. One process of the
%% operating system runs one workload and prints its figures, one "name number" a line.
-module(ringfence_peer).
-behaviour(gen_server).
-export([main/1, start/1, start_named/0, init/1, handle_call/3, handle_cast/2]).

main([Reports, Workload | Numbers]) ->
    ok = reports(Reports),
    [io:format("~s ~f~n", [Name, float(Figure)])
     || {Name, Figure} <- run(Workload, [list_to_integer(N) || N <- Numbers])],
    halt(0).

%% "unmade": nothing is logged. "made": crash reports are made as in a fresh node, but written nowhere.
reports("unmade") -> logger:set_primary_config(level, none);
reports("made") -> logger:remove_handler(default).

%% The message is made at run time, so that sending it copies it.
tick() -> {tick, list_to_binary("BTC-USD"), list_to_float("101.5")}.

run("W1", [Tells]) ->
    {ok, Sink} = start({sink, Tells, self()}),
    Tick = tick(),
    S = timed(fun() -> tell(Sink, Tick, Tells), receive done -> ok end end),
    [{tell, Tells / S}];
run("W2", [Asks]) ->
    {ok, Sink} = start({sink, 0, self()}),
    latencies(ask, [timed(fun() -> gen_server:call(Sink, question) end) || _ <- lists:seq(1, Asks)]);
run("W3", [Hops, Size]) ->
    [First | Rest] = Ring = [element(2, start({forwarder, self()})) || _ <- lists:seq(1, Size)],
    [gen_server:call(Pid, {next, Next}) || {Pid, Next} <- lists:zip(Ring, Rest ++ [First])],
    S = timed(fun() -> gen_server:cast(First, {token, Hops}), receive done -> ok end end),
    [{hop, Hops / S}];
run("W4", [Tells, Producers]) ->
    Each = Tells div Producers,
    {ok, Sink} = start({sink, Each * Producers, self()}),
    Tick = tick(),
    S = timed(fun() ->
        [spawn_link(fun() -> tell(Sink, Tick, Each) end) || _ <- lists:seq(1, Producers)],
        receive done -> ok end
    end),
    [{fan_in, Each * Producers / S}];
run("W5", [Publishes, Subscribers]) ->
    {ok, _} = pg:start_link(),
    [pg:join(ticks, element(2, start({sink, Publishes, self()}))) || _ <- lists:seq(1, Subscribers)],
    Tick = tick(),
    S = timed(fun() ->
        [[gen_server:cast(Pid, Tick) || Pid <- pg:get_local_members(ticks)] || _ <- lists:seq(1, Publishes)],
        [receive done -> ok end || _ <- lists:seq(1, Subscribers)]
    end),
    [{fan_out, Publishes * Subscribers / S}];
run("W6", [Spawns, Idle]) ->
    {ok, Sup} = supervisor:start_link(?MODULE, many),
    {Start, Pids} = timed_value(fun() -> children(Sup, Spawns) end),
    Stop = timed(fun() -> [ok = supervisor:terminate_child(Sup, Pid) || Pid <- Pids] end),
    Before = erlang:memory(processes),
    _ = children(Sup, Idle),
    Kib = (erlang:memory(processes) - Before) / Idle / 1024,
    Micros = 1.0e6 / Spawns,
    [{start, Start * Micros}, {stop, Stop * Micros}, {start_stop, (Start + Stop) * Micros}, {idle, Kib}];
run("W7", [Restarts]) ->
    {ok, _} = supervisor:start_link(?MODULE, one),
    latencies(restart, [timed(fun crash_and_ask/0) || _ <- lists:seq(1, Restarts)]).

tell(_, _, 0) -> ok;
tell(Pid, Message, N) -> gen_server:cast(Pid, Message), tell(Pid, Message, N - 1).

children(Sup, N) -> [element(2, {ok, _} = supervisor:start_child(Sup, [])) || _ <- lists:seq(1, N)].

crash_and_ask() -> gen_server:cast(echo, poison), first_reply().

first_reply() ->
    try gen_server:call(echo, question) catch exit:_ -> erlang:yield(), first_reply() end.

timed(Fun) -> element(1, timed_value(Fun)).

timed_value(Fun) ->
    Start = erlang:monotonic_time(),
    Value = Fun(),
    {(erlang:monotonic_time() - Start) / erlang:convert_time_unit(1, second, native), Value}.

latencies(Name, Seconds) ->
    Sorted = lists:sort(Seconds),
    Nth = fun(Share) -> 1.0e6 * lists:nth(trunc(length(Sorted) * Share) + 1, Sorted) end,
    [{Name, Nth(0.5)}, {atom_to_list(Name) ++ "_p99", Nth(0.99)}].

start(State) -> gen_server:start_link(?MODULE, State, []).
start_named() -> gen_server:start_link({local, echo}, ?MODULE, {sink, 0, self()}, []).

init(many) ->
    Child = #{id => sink, start => {?MODULE, start, [{sink, 0, self()}]}, restart => permanent},
    {ok, {#{strategy => simple_one_for_one}, [Child]}};
init(one) ->
    Child = #{id => echo, start => {?MODULE, start_named, []}, restart => permanent},
    {ok, {#{strategy => one_for_one, intensity => 1000000, period => 1}, [Child]}};
init(State) -> {ok, State}.

handle_call({next, Next}, _From, {forwarder, Client}) -> {reply, ok, {forwarder, Next, Client}};
handle_call(question, _From, State) -> {reply, 1, State}.

handle_cast(poison, _State) -> erlang:error(poison);
handle_cast({token, 0}, {forwarder, _, Client} = State) -> Client ! done, {noreply, State};
handle_cast({token, Hops}, {forwarder, Next, _} = State) ->
    gen_server:cast(Next, {token, Hops - 1}),
    {noreply, State};
handle_cast({tick, _, _}, {sink, 1, Client}) -> Client ! done, {noreply, {sink, 0, Client}};
handle_cast({tick, _, _}, {sink, Remaining, Client}) -> {noreply, {sink, Remaining - 1, Client}}.
