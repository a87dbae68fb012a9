package main

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/prometheus-adapter/pkg/client"
	"sigs.k8s.io/prometheus-adapter/pkg/config"
	provider "sigs.k8s.io/prometheus-adapter/pkg/custom-provider"
	"sigs.k8s.io/prometheus-adapter/pkg/naming"
)

// newPrometheusAdapter is the command of prometheus-adapter, for its rules of custom metrics alone. Its own main package
// (0.12.0) does not compile with the current libraries of API servers, and its other packages do.
func newPrometheusAdapter() *cobra.Command {
	adapter := &cmd.AdapterBase{Name: "prometheus-adapter"}
	command := &cobra.Command{Use: adapter.Name, SilenceUsage: true}
	adapter.FlagSet = command.Flags()
	prometheus := adapter.Flags().String("prometheus-url", "", "URL of Prometheus.")
	file := adapter.Flags().String("config", "", "File of rules.")
	interval := adapter.Flags().Duration("metrics-relist-interval", 10*time.Minute, "Time between two lists of series.")
	age := adapter.Flags().Duration("metrics-max-age", 10*time.Minute, "Age of the series that are listed.")
	command.RunE = func(*cobra.Command, []string) error {
		ctx := genericapiserver.SetupSignalContext()
		address, err := url.Parse(*prometheus)
		if err != nil {
			return err
		}
		rules, err := config.FromFile(*file)
		if err != nil {
			return err
		}
		mapper, err := adapter.RESTMapper()
		if err != nil {
			return err
		}
		objects, err := adapter.DynamicClient()
		if err != nil {
			return err
		}
		namers, err := naming.NamersFromConfig(rules.Rules, mapper)
		if err != nil {
			return err
		}
		api := withoutTimeout{client.NewGenericAPIClient(http.DefaultClient, address, nil)}
		queries := client.NewClientForAPI(api, http.MethodGet)
		metrics, lister := provider.NewPrometheusProvider(mapper, objects, queries, namers, *interval, *age)
		lister.RunUntil(ctx.Done())
		adapter.WithCustomMetrics(metrics)
		return adapter.Run(ctx)
	}
	return command
}

// withoutTimeout leaves out the parameter that prometheus-adapter 0.12.0 computes with the wrong sign.
type withoutTimeout struct {
	client.GenericAPIClient
}

func (c withoutTimeout) Do(ctx context.Context, verb, endpoint string, query url.Values) (client.APIResponse, error) {
	query.Del("timeout")
	return c.GenericAPIClient.Do(ctx, verb, endpoint, query)
}
