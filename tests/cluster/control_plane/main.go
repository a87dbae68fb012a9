// The programs of a Kubernetes control plane, and the API servers of metrics, in one binary: control-plane PROGRAM FLAGS…
package main

import (
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	metrics "sigs.k8s.io/metrics-server/cmd/metrics-server/app"
)

func main() {
	os.Args = os.Args[1:]
	programs := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"metrics-server": func() *cobra.Command {
			return metrics.NewMetricsServerCommand(genericapiserver.SetupSignalHandler())
		},
		"prometheus-adapter": newPrometheusAdapter,
	}
	if program, ok := programs[os.Args[0]]; ok {
		os.Exit(cli.Run(program()))
	}
	etcdmain.Main(os.Args)
}
