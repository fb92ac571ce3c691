#!/usr/bin/env escript
%% An independent Diameter client: OTP's. Connects, exchanges capabilities, lets its watchdog ask, parts by DPR.
%% Prints one line per event; the test reads them.

main([Port]) ->
    ok = diameter:start(),
    Capabilities = [{'Origin-Host', "otp.example.net"},
                    {'Origin-Realm', "example.net"},
                    {'Vendor-Id', 193},
                    {'Product-Name', "OTP"},
                    {'Host-IP-Address', [{127,0,0,1}]},
                    {'Auth-Application-Id', [4]}],
    true = diameter:subscribe(client),
    ok = diameter:start_service(client, Capabilities ++ [
        {application, [{alias, base}, {dictionary, diameter_gen_base_rfc6733}, {module, diameter_callback}]},
        {application, [{alias, cc}, {dictionary, dictionary()}, {module, diameter_callback}]}]),
    {ok, Ref} = diameter:add_transport(client, {connect, [
        {transport_module, diameter_tcp},
        {watchdog_timer, 6000},
        {transport_config, [{raddr, {127,0,0,1}}, {rport, list_to_integer(Port)}, {ip, {127,0,0,1}}]}]}),
    receive
        {diameter_event, client, {up, _, {_, Caps}, _, _}} ->
            {_, Host} = element(2, Caps),        % of a diameter_caps: both Origin-Hosts
            io:format("up ~s~n", [Host])
    after 10000 -> fail("no CEA")
    end,
    receive
        {diameter_event, client, {watchdog, _, _, {okay, Other}, _}} when Other /= okay -> fail(Other)
    after 9000 ->      % more than a watchdog interval
        [{_, Stats} | _] = [{C, S} || {C, S} <- counted(Ref), S /= []],
        io:format("dwa ~p~n", [lists:sum([N || {{{0, 280, 0}, recv, _}, N} <- Stats])])
    end,
    ok = diameter:remove_transport(client, Ref),
    receive
        {diameter_event, client, {down, _, _, _}} -> io:format("down~n")
    after 10000 -> fail("no DPA")
    end.

%% Credit control as far as capabilities are concerned: an application id is all that is needed.
dictionary() ->
    {ok, [Forms]} = diameter_make:codec("@id 4\n@name cc_only\n@prefix cc_only\n@vendor 0 IETF\n", [forms, return]),
    {ok, M, Code} = compile:forms(Forms, []),
    {module, M} = code:load_binary(M, "cc_only", Code),
    M.

counted(Ref) ->
    [{proplists:get_value(ref, C), proplists:get_value(statistics, C, [])}
     || C <- diameter:service_info(client, connections), proplists:get_value(ref, C) == Ref].

fail(Why) ->
    io:format("failed ~p~n", [Why]),
    halt(1).
