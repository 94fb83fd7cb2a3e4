%% Erlang's ssh daemon on 127.0.0.1, with both kinds of TCP forwards.
%%
%%     escript erlang_server.escript PORT SYSTEM_DIR USER_DIR USER PASSWORD

main([Port, SystemDir, UserDir, User, Password]) ->
    {ok, _} = application:ensure_all_started(ssh),
    {ok, _} = ssh:daemon({127, 0, 0, 1}, list_to_integer(Port), [
        {system_dir, SystemDir},
        {user_dir, UserDir},
        {user_passwords, [{User, Password}]},
        {auth_methods, "publickey,keyboard-interactive,password"},
        {tcpip_tunnel_in, true},
        {tcpip_tunnel_out, true}
    ]),
    receive stop -> ok end.
