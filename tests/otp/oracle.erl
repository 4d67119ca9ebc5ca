%% Runs scenarios on Erlang/OTP's own supervisor and prints their traces, one JSON object a line.
%%
%%   erlc oracle.erl && erl -noshell -s oracle main -extra scenarios.terms > traces.jsonl
%%
%% The file of scenarios holds Erlang terms: maps, lists, binaries and numbers, each closed by a dot.
%%
%% One order for all events: whoever causes an event draws a strictly monotonic number first. The
%% end of a process is stamped by the virtual machine's tracing, in the process that ends and before
%% anybody can learn of it. Sorted by number, causes come before effects.
-module(oracle).
-behaviour(supervisor).
-export([main/0, begin_worker/3, begin_supervisor/3, init/1, log/2]).

main() ->
    [File] = init:get_plain_arguments(),
    {ok, Scenarios} = file:consult(File),
    process_flag(trap_exit, true),
    ok = logger:set_primary_config(level, debug),
    lists:foreach(fun logger:remove_handler/1, logger:get_handler_ids()),
    register(recorder, spawn(fun() -> recorder(blank()) end)),
    ok = logger:add_handler(oracle, ?MODULE, #{level => debug}),
    lists:foreach(fun(Scenario) -> io:put_chars([json(play(Scenario)), $\n]) end, Scenarios),
    halt(0, [{flush, true}]).

%% ---- one scenario ------------------------------------------------------------------------------

play(#{<<"id">> := Id, <<"tree">> := Tree, <<"script">> := Script, <<"plan">> := Plan}) ->
    ask(reset),
    maps:foreach(fun(Path, Outcomes) -> ask({plan, Path, Outcomes}) end, Plan),
    {Root, Answer} =
        case begin_supervisor(none, Tree, maps:get(<<"id">>, Tree)) of
            {ok, Pid} -> {Pid, ok};
            {error, Why} -> {none, [error, reason(Why)]}
        end,
    Start = #{n => 0, ev => [#{t => root_start, r => Answer} | settled(Root)], st => books(Root)},
    Steps = [Start | steps(Script, 1, Root)],
    lives(Root) andalso ended(Root, kill),
    all_dead(),
    #{id => Id, steps => Steps}.

steps([Step | Rest], N, Root) ->
    case lives(Root) of
        true ->
            Answer = step(Step, Root),
            Events = settled(Root),
            Done = #{n => N, api => Answer, ev => Events, st => books(Root)},
            [Done | steps(Rest, N + 1, Root)];
        false ->
            []
    end;
steps([], _, _) ->
    [].

step([<<"stop">>], Root) -> reason(ended(Root, shutdown));
step([<<"plan">>, Path, Outcomes], _) -> ask({plan, Path, Outcomes});
step([<<"kill">>, Path], _) -> die(Path, <<"kill">>);
step([<<"exit">>, Path, Why], _) -> die(Path, Why);
step([<<"multi">>, Path, Deaths], _) ->
    with(Path, supervisor, fun(Sup) ->
        ok = sys:suspend(Sup),
        Answers = [die_unseen(Sup, Victim, Why) || [Victim, Why] <- Deaths],
        ok = sys:resume(Sup),
        Answers
    end);
step([<<"advance">>, Seconds], _) ->
    lists:foreach(fun({_, Sup}) -> age(Sup, Seconds) end, supervisors()),
    ok;
step([<<"start_child">>, Path, Spec], _) ->
    call(Path, fun(Sup) -> supervisor:start_child(Sup, child_spec(Path, Spec)) end);
step([<<"start_dyn">>, Path, Key], _) ->
    call(Path, fun(Sup) -> supervisor:start_child(Sup, [Key]) end);
step([<<"terminate_dyn">>, Path, Key], _) ->
    with(below(Path, Key), worker, fun(Child) ->
        call(Path, fun(Sup) -> supervisor:terminate_child(Sup, Child) end)
    end);
step([Call, Path, Key], _) ->
    call(Path, fun(Sup) -> supervisor:(binary_to_existing_atom(Call))(Sup, Key) end).

%% The times of restarts are the eighth element of the supervisor's state, in OTP 24 to 27.
age(Sup, Seconds) ->
    sys:replace_state(Sup, fun(State) ->
        setelement(8, State, [At - Seconds || At <- element(8, State)])
    end).

die(Path, Why) ->
    with(Path, worker, fun(Pid) ->
        Watch = monitor(process, Pid),
        case Why of
            <<"kill">> -> exit(Pid, kill);
            _ -> Pid ! {die, term(Why)}
        end,
        receive {'DOWN', Watch, _, _, _} -> ok end
    end).

die_unseen(Sup, Path, Why) ->
    with(Path, worker, fun(Pid) ->
        ok = die(Path, Why),
        waits_in_inbox(Sup, Pid)
    end).

waits_in_inbox(Sup, Pid) ->
    {messages, Messages} = process_info(Sup, messages),
    case [P || {'EXIT', P, _} <- Messages, P =:= Pid] of
        [] -> erlang:yield(), waits_in_inbox(Sup, Pid);
        _ -> ok
    end.

ended(Pid, Why) ->
    Watch = monitor(process, Pid),
    exit(Pid, Why),
    receive {'DOWN', Watch, _, _, Reason} -> Reason end.

with(Path, Kind, Do) ->
    case ask({find, Path, Kind}) of
        none -> noproc;
        Pid -> Do(Pid)
    end.

call(Path, Do) ->
    with(Path, supervisor, fun(Sup) ->
        case Do(Sup) of
            ok -> ok;
            {ok, undefined} -> [ok, undefined];
            {ok, Pid} when is_pid(Pid) -> [ok, pid];
            {error, {already_started, _}} -> [error, already_started];
            {error, {Why, Child}} when element(1, Child) =:= child -> [error, reason(Why)];
            {error, Why} -> [error, reason(Why)]
        end
    end).

%% ---- when nothing more will happen ------------------------------------------------------------

%% Two looks in a row at the whole tree see the same, all of it alive and nothing in a restart loop.
settled(Root) -> settled(Root, never).

settled(Root, Before) ->
    case look(Root) of
        dead -> all_dead(), ask(events);
        Before -> ask(events);
        unsettled -> timer:sleep(1), settled(Root, never);
        Now -> erlang:yield(), settled(Root, Now)
    end.

look(Root) ->
    try lives(Root) andalso tree(Root) of
        false -> dead;
        Tree -> Tree
    catch
        _:_ -> unsettled
    end.

tree(Sup) ->
    [grown(Child) || Child <- supervisor:which_children(Sup)].

grown({_, restarting, _, _}) -> throw(unsettled);
grown({Id, undefined, _, _}) -> {Id, undefined};
grown({Id, Pid, Kind, _}) ->
    lives(Pid) orelse throw(unsettled),
    {Id, Pid, case Kind of supervisor -> tree(Pid); worker -> [] end}.

all_dead() ->
    case lists:any(fun is_process_alive/1, ask(everybody)) of
        true -> timer:sleep(1), all_dead();
        false -> ok
    end.

lives(none) -> false;
lives(Pid) -> is_process_alive(Pid).

supervisors() -> [{Path, Pid} || {Path, Pid, supervisor} <- ask(latest), is_process_alive(Pid)].

books(Root) ->
    case lives(Root) of
        false -> null;
        true -> [book(Path, Pid) || {Path, Pid} <- lists:sort(supervisors())]
    end.

book(Path, Sup) ->
    Counts = supervisor:count_children(Sup),
    #{p => Path,
      n => [proplists:get_value(Key, Counts) || Key <- [specs, active, supervisors, workers]],
      c => [[name(Id), process(Child), Kind] || {Id, Child, Kind, _} <- supervisor:which_children(Sup)]}.

name(undefined) -> <<"-">>;
name(Id) -> Id.

process(Pid) when is_pid(Pid) -> tuple_to_list(ask({who, Pid}));
process(Status) -> Status.

%% ---- what is supervised -------------------------------------------------------------------------

below(none, Id) -> Id;
below(Path, Id) -> <<Path/binary, "/", Id/binary>>.

child_spec(Above, #{<<"id">> := Id} = Spec) ->
    {Kind, Begin, Patience} =
        case Spec of
            #{<<"children">> := _} -> {supervisor, begin_supervisor, infinity};
            _ -> {worker, begin_worker, 5000}
        end,
    #{id => Id,
      type => Kind,
      start => {?MODULE, Begin, [Above, Spec, Id]},
      restart => term(maps:get(<<"restart">>, Spec, permanent)),
      significant => maps:get(<<"significant">>, Spec, false),
      shutdown => term(maps:get(<<"shutdown">>, Spec, Patience))}.

begin_worker(Above, Spec, Id) ->
    Path = below(Above, Id),
    {Outcome, N} = ask({next, Path}),
    case Outcome of
        <<"ok">> ->
            Sup = self(),
            Answer = maps:get(<<"on_stop">>, Spec, <<"prompt">>),
            Pid = spawn_link(fun() -> worker(Sup, Path, N, Answer) end),
            receive {Pid, up} -> {ok, Pid} end;
        <<"ignore">> ->
            note(#{t => ignore, p => Path, i => N}),
            ignore;
        [<<"error">>, Why] ->
            note(#{t => start_fail, p => Path, i => N, r => Why}),
            {error, term(Why)};
        [<<"raise">>, Why] ->
            note(#{t => start_fail, p => Path, i => N, r => [<<"EXIT">>, Why]}),
            error(term(Why))
    end.

worker(Sup, Path, N, Answer) ->
    process_flag(trap_exit, true),
    ask({here, self(), Path, N, worker}),
    note(#{t => start, p => Path, i => N}),
    Sup ! {self(), up},
    work(Sup, Answer).

work(Sup, Answer) ->
    receive
        {die, Why} -> exit(Why);
        {'EXIT', Sup, shutdown} when Answer =:= <<"ignore">> -> work(Sup, Answer);
        {'EXIT', Sup, shutdown} -> leave(Answer);
        {'EXIT', Sup, Why} -> exit(Why)
    end.

leave(<<"prompt">>) -> exit(shutdown);
leave([<<"exit">>, Why]) -> exit(term(Why));
leave([<<"delay">>, Milliseconds]) -> timer:sleep(Milliseconds), exit(shutdown).

begin_supervisor(Above, Spec, Id) ->
    Path = below(Above, Id),
    {_, N} = ask({next, Path}),
    case supervisor:start_link(?MODULE, {Path, N, Spec}) of
        {ok, Pid} -> {ok, Pid};
        %% Up to OTP 25 the answer comes before the process has ended.
        {error, Why} -> all_of(Path, N), {error, Why}
    end.

all_of(Path, N) ->
    [ok = gone(Pid) || Pid <- ask(everybody), ask({who, Pid}) =:= {Path, N}].

gone(Pid) ->
    Watch = monitor(process, Pid),
    receive {'DOWN', Watch, _, _, _} -> ok end.

init({Path, N, #{<<"children">> := Children} = Spec}) ->
    ask({here, self(), Path, N, supervisor}),
    note(#{t => init, p => Path, i => N}),
    Strategy = term(maps:get(<<"strategy">>, Spec, one_for_one)),
    Flags = #{strategy => Strategy,
              intensity => maps:get(<<"intensity">>, Spec, 1),
              period => maps:get(<<"period">>, Spec, 5),
              auto_shutdown => term(maps:get(<<"auto_shutdown">>, Spec, never))},
    {ok, {Flags, [specified(Strategy, Path, Child) || Child <- Children]}}.

specified(simple_one_for_one, Path, Child) ->
    (child_spec(Path, Child))#{start => {?MODULE, begin_worker, [Path, Child]}};
specified(_, Path, Child) ->
    child_spec(Path, Child).

%% Called in the process that logs, which is the supervisor itself.
log(#{msg := {report, #{label := {supervisor, Kind}, report := Report}}}, _) ->
    {Path, _} = ask({who, self()}),
    note(reported(Kind, Path, fun(Key) -> proplists:get_value(Key, Report) end));
log(_, _) ->
    ok.

reported(progress, Path, Of) ->
    #{t => progress, p => Path, c => proplists:get_value(id, Of(started))};
reported(Kind, Path, Of) ->
    Child = proplists:get_value(id, Of(offender)),
    #{t => report, x => Kind, p => Path, r => reason(Of(reason)), c => Child}.

%% ---- the recorder: knows every process, plan and event ------------------------------------------

note(Event) -> ask({note, erlang:unique_integer([monotonic]), Event}).

ask(Question) ->
    Ref = make_ref(),
    recorder ! {Ref, self(), Question},
    receive {Ref, Answer} -> Answer end.

blank() -> #{events => [], who => #{}, latest => #{}, counts => #{}, plans => #{}}.

recorder(State) ->
    receive
        {Ref, Asker, Question} when is_reference(Ref) ->
            {Answer, After} = answer(Question, State),
            Asker ! {Ref, Answer},
            recorder(After);
        {trace_ts, Pid, exit, Why, {_, Stamp}} ->
            recorder(exited(Pid, Why, Stamp, State));
        _ ->
            recorder(State)
    end.

exited(Pid, Why, Stamp, #{who := Who, events := Events} = State) ->
    {Path, N} = map_get(Pid, Who),
    State#{events := [{Stamp, #{t => exit, p => Path, i => N, r => reason(Why)}} | Events]}.

answer(reset, _) -> {ok, blank()};
answer({note, Stamp, Event}, #{events := Events} = S) -> {ok, S#{events := [{Stamp, Event} | Events]}};
answer({plan, Path, More}, #{plans := Plans} = S) ->
    {ok, S#{plans := Plans#{Path => maps:get(Path, Plans, []) ++ More}}};
answer({next, Path}, #{plans := Plans, counts := Counts} = S) ->
    N = maps:get(Path, Counts, 0) + 1,
    {Outcome, Rest} =
        case maps:get(Path, Plans, []) of
            [] -> {<<"ok">>, []};
            [First | Others] -> {First, Others}
        end,
    {{Outcome, N}, S#{plans := Plans#{Path => Rest}, counts := Counts#{Path => N}}};
answer({here, Pid, Path, N, Kind}, #{who := Who, latest := Latest} = S) ->
    1 = erlang:trace(Pid, true, [procs, strict_monotonic_timestamp]),
    {ok, S#{who := Who#{Pid => {Path, N}}, latest := Latest#{Path => {Pid, Kind}}}};
answer({who, Pid}, #{who := Who} = S) -> {maps:get(Pid, Who, none), S};
answer(everybody, #{who := Who} = S) -> {maps:keys(Who), S};
answer(latest, #{latest := Latest} = S) ->
    {[{Path, Pid, Kind} || {Path, {Pid, Kind}} <- maps:to_list(Latest)], S};
answer({find, Path, Kind}, #{latest := Latest} = S) ->
    case Latest of
        #{Path := {Pid, Kind}} -> {case is_process_alive(Pid) of true -> Pid; false -> none end, S};
        _ -> {none, S}
    end;
answer(events, State) ->
    Ref = erlang:trace_delivered(all),
    #{events := Events} = S = delivered(Ref, State),
    {[Event || {_, Event} <- lists:keysort(1, Events)], S#{events := []}}.

delivered(Ref, State) ->
    receive
        {trace_ts, Pid, exit, Why, {_, Stamp}} -> delivered(Ref, exited(Pid, Why, Stamp, State));
        {trace_delivered, all, Ref} -> State
    end.

%% ---- words --------------------------------------------------------------------------------------

term([<<"shutdown">>, Why]) -> {shutdown, term(Why)};
term(Text) when is_binary(Text) -> binary_to_atom(Text);
term(Other) -> Other.

reason({shutdown, {failed_to_start_child, Id, Why}}) ->
    [shutdown, [failed_to_start_child, Id, reason(Why)]];
reason({shutdown, Why}) -> [shutdown, reason(Why)];
reason({'EXIT', {Why, Stack}}) when is_list(Stack) -> ['EXIT', reason(Why)];
reason(Why) when is_atom(Why) -> Why.

json(Map) when is_map(Map) ->
    [${, lists:join($,, [[json(Key), $:, json(Value)] || {Key, Value} <- maps:to_list(Map)]), $}];
json(List) when is_list(List) -> [$[, lists:join($,, [json(Item) || Item <- List]), $]];
json(Number) when is_integer(Number) -> integer_to_list(Number);
json(null) -> "null";
json(Atom) when is_atom(Atom) -> json(atom_to_binary(Atom));
json(Text) when is_binary(Text) -> [$", Text, $"].   % no name here needs an escape
