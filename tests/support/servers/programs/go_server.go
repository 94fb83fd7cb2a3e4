// A server on x/crypto/ssh, 127.0.0.1. Its forwards end as those of gliderlabs/ssh do: whichever
// direction is over first closes the channel, which x/crypto does with a CLOSE and no EOF.
//
//	go_server PORT HOST_KEY AUTHORIZED_KEYS USER PASSWORD
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// RFC 4254 7.1: the address and port of a tcpip-forward.
type listenRequest struct {
	Address string
	Port    uint32
}

// RFC 4254 7.2: what a direct-tcpip and a forwarded-tcpip say.
type openRequest struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

func main() {
	port, hostKey, authorized, user, password := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			rest, err := os.ReadFile(authorized)
			for err == nil && len(rest) > 0 {
				var known ssh.PublicKey
				known, _, _, rest, err = ssh.ParseAuthorizedKey(rest)
				if err == nil && bytes.Equal(known.Marshal(), key.Marshal()) {
					return nil, nil
				}
			}
			return nil, errors.New("unknown key")
		},
		PasswordCallback: func(meta ssh.ConnMetadata, given []byte) (*ssh.Permissions, error) {
			if meta.User() == user && string(given) == password {
				return nil, nil
			}
			return nil, errors.New("wrong password")
		},
	}
	pem, err := os.ReadFile(hostKey)
	check(err)
	signer, err := ssh.ParsePrivateKey(pem)
	check(err)
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	check(err)
	for {
		connection, err := listener.Accept()
		check(err)
		go serve(connection, config)
	}
}

func serve(connection net.Conn, config *ssh.ServerConfig) {
	server, channels, requests, err := ssh.NewServerConn(connection, config)
	if err != nil {
		log.Print(err)
		return
	}
	go answer(server, requests)
	for channel := range channels {
		if channel.ChannelType() == "direct-tcpip" {
			go dial(channel)
		} else {
			channel.Reject(ssh.UnknownChannelType, "unsupported channel type")
		}
	}
}

func dial(channel ssh.NewChannel) {
	var wanted openRequest
	if err := ssh.Unmarshal(channel.ExtraData(), &wanted); err != nil {
		channel.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	target, err := net.Dial("tcp", address(wanted.Host, wanted.Port))
	if err != nil {
		channel.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	opened, requests, err := channel.Accept()
	if err != nil {
		target.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	relay(opened, target)
}

func relay(channel ssh.Channel, socket net.Conn) {
	copy := func(to io.Writer, from io.Reader) {
		defer channel.Close()
		defer socket.Close()
		io.Copy(to, from)
	}
	go copy(channel, socket)
	go copy(socket, channel)
}

// answer serves one connection's global requests, and ends its listeners with it.
func answer(server *ssh.ServerConn, requests <-chan *ssh.Request) {
	listeners := map[listenRequest]net.Listener{}
	for request := range requests {
		var asked listenRequest
		switch request.Type {
		case "tcpip-forward":
			if ssh.Unmarshal(request.Payload, &asked) != nil {
				request.Reply(false, nil)
				continue
			}
			listener, err := net.Listen("tcp", address(asked.Address, asked.Port))
			if err != nil {
				request.Reply(false, nil)
				continue
			}
			asked.Port = uint32(listener.Addr().(*net.TCPAddr).Port)
			listeners[asked] = listener
			request.Reply(true, ssh.Marshal(struct{ Port uint32 }{asked.Port}))
			go listen(server, listener, asked)
		case "cancel-tcpip-forward":
			ok := ssh.Unmarshal(request.Payload, &asked) == nil
			listener, known := listeners[asked]
			if ok = ok && known; ok {
				listener.Close()
				delete(listeners, asked)
			}
			request.Reply(ok, nil)
		default:
			request.Reply(false, nil)
		}
	}
	for _, listener := range listeners {
		listener.Close()
	}
}

func listen(server *ssh.ServerConn, listener net.Listener, asked listenRequest) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			from := client.RemoteAddr().(*net.TCPAddr)
			payload := ssh.Marshal(openRequest{
				asked.Address, asked.Port, from.IP.String(), uint32(from.Port),
			})
			channel, requests, err := server.OpenChannel("forwarded-tcpip", payload)
			if err != nil {
				client.Close()
				return
			}
			go ssh.DiscardRequests(requests)
			relay(channel, client)
		}()
	}
}

func address(host string, port uint32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
