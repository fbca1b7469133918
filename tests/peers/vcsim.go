// A vCenter: govmomi's simulator over TLS, with one user, on a loopback port of its own.
//
// `vcsim CERTIFICATE KEY` prints its address, and then a line of JSON for each machine, as the simulator itself has
// it. `DC0_H0_VM1` has the tags `prod` and `db` of the category `use`. SIGUSR1 renames `DC0_H0_VM0` to `web-01`, SIGTERM ends it.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/rest"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/mo"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The REST interface is a simulator of its own: its tags are made by its own client.
func tag(server *simulator.Server, names []string, machine mo.Reference) {
	ctx := context.Background()
	client, err := govmomi.NewClient(ctx, server.URL, true)
	must(err)
	session := rest.NewClient(client.Client)
	must(session.Login(ctx, server.URL.User))
	manager := tags.NewManager(session)
	category, err := manager.CreateCategory(ctx, &tags.Category{
		Name: "use", Cardinality: "MULTIPLE", AssociableTypes: []string{"VirtualMachine"},
	})
	must(err)
	for _, name := range names {
		id, err := manager.CreateTag(ctx, &tags.Tag{Name: name, CategoryID: category})
		must(err)
		must(manager.AttachTag(ctx, id, machine))
	}
	must(session.Logout(ctx))
	must(client.Logout(ctx))
}

func main() {
	certificate, err := tls.LoadX509KeyPair(os.Args[1], os.Args[2])
	must(err)
	model := simulator.VPX()
	model.Machine = 20
	model.Folder = 1
	must(model.Create())
	model.Service.RegisterEndpoints = true
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword("reader@vsphere.local", "s3<cret>&")}
	server := model.Service.NewServer()
	fmt.Printf("url https://%s\n", server.URL.Host)
	machines := func() map[string]*simulator.VirtualMachine {
		all := map[string]*simulator.VirtualMachine{}
		for _, entity := range simulator.Map.All("VirtualMachine") {
			vm := entity.(*simulator.VirtualMachine)
			all[vm.Name] = vm
		}
		return all
	}
	tag(server, []string{"prod", "db"}, machines()["DC0_H0_VM1"])
	for _, vm := range machines() {
		host := simulator.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
		line, err := json.Marshal(map[string]string{
			"name":     vm.Name,
			"moref":    vm.Self.Value,
			"uuid":     vm.Config.Uuid,
			"instance": vm.Config.InstanceUuid,
			"host":     host.Name,
			"parent":   simulator.Map.Get(*vm.Parent).(mo.Entity).Entity().Name,
		})
		must(err)
		fmt.Printf("vm %s\n", line)
	}
	fmt.Println("ready")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGTERM)
	for received := range signals {
		if received == syscall.SIGTERM {
			return
		}
		vm := machines()["DC0_H0_VM0"]
		vm.Name, vm.Config.Name, vm.Summary.Config.Name = "web-01", "web-01", "web-01"
	}
}
