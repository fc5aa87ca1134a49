"""The SHA-256 of every Debian package that this project was tested with, by file name."""

# A package that is listed here and differs is refused. One that is not listed (a newer upload) has passed apt's own
# check, from the archive's signature down to the file, and is named as such in the output.
SHA256 = {
    # sid
    "prometheus_3.5.3+ds1-6_amd64.deb": "593bcced02d8082688ea034dfc543848ad145c5f793aae5aad756c4dbdfa98da",
    "promtool_3.5.3+ds1-6_amd64.deb": "1fb8bad7b932e7a44bccb12517f0bd96d5d5d83f15d3a1c0e2aa705cbf93fe90",
    "prometheus-alertmanager_0.33.1-5_amd64.deb": "ec1be21dd7ffeec3d6f42dd1cc8e97b8a9e93888f1953b4fb4cb9234be70185f",
    "prometheus-node-exporter_1.11.1-3_amd64.deb": "eb42d44b6fcd5040722f5b27b31578bdaeed890f08be24f3592339267ae0e135",
    "prometheus-postgres-exporter_0.19.1-1+b1_amd64.deb": (
        "3c6f53fef1600a3464755072e7ac74a62e8f83c1fb11a4aa1e5e93b554fc48dc"
    ),
    "prometheus-redis-exporter_1.86.0-1_amd64.deb": "3741c2b382ce7e449e8be16f0ee8918e508b008453a4041f67b3732c5c2bea12",
    "prometheus-nginx-exporter_1.5.1-1_amd64.deb": "da21468a9614ae4095b3df1285156898f723d7a2eb7b3920687e7775ed1bf93d",
    "prometheus-blackbox-exporter_0.28.0-2_amd64.deb": (
        "b6e755178c702abcdf4b03d5f7ff3e360f7d513841950730ba16663c5406e222"
    ),
    "victoria-metrics_1.145.0+ds1-2_amd64.deb": "c858b5c15b1c3a3872ec7520cddb2bb51fc48d4b61b6b88f05ac7304edb44557",
    # trixie
    "prometheus_2.53.3+ds1-2_amd64.deb": "58c3e6a86c56cb3bfd71032fa48d65945d526441a212f5815dfe5ed9cb787ecc",
    "promtool_2.53.3+ds1-2_amd64.deb": "ff27654eacc95abd846d344e91fe4ba3b4f0588a50d606ed1d2f09ad3408722f",
    "prometheus-alertmanager_0.28.1+ds-1_amd64.deb": "76ee08c2bf686fa32ca243d099b6bfc6cb00074e9337c18ef73154b60c5830a9",
    "prometheus-node-exporter_1.9.0-1+b4_amd64.deb": "9db00cad0c9e160a4e9c13cbdb2833d58becb1f4cd60eeb0b5e12477ba6a42bd",
    "prometheus-postgres-exporter_0.17.1-1+b4_amd64.deb": (
        "37895f59de5a35c54e38499e37f342bf168c67634b65a0a29ebcd5add6aa7636"
    ),
    "prometheus-redis-exporter_1.69.0-1_amd64.deb": "4b4b9975f84539178aef05a31136a6532a1515588ab81f1f3cbbac976e1bea28",
    "prometheus-nginx-exporter_1.4.1-1+b5_amd64.deb": (
        "52f790faa9bdf2cbdf3c1b95b3df8b704f4dfded5bdc55545bf27ca0eafc589c"
    ),
    "prometheus-blackbox-exporter_0.26.0-1_amd64.deb": (
        "548213651cead2504142c2954d066c138bb1da180262a39f0ed1b40e0adac9d1"
    ),
    "victoria-metrics_1.112.0+ds1-2_amd64.deb": "1d3717f1a8ab5bf690271095dd286730f6fb0761cc8c09c0fc8f529c9838f346",
    # bookworm
    "prometheus_2.42.0+ds-5+deb12u1_amd64.deb": "81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55",
    "prometheus-alertmanager_0.25.0-1+b4_amd64.deb": "4fb9aed15cfe8e0c32408e643ab32a1e41ee87d2cc26f18aeba928b1b0b98ae7",
    "prometheus-node-exporter_1.5.0-1+b6_amd64.deb": "8cb5b39627595ea2cf3cd27be593e0e9af87023d29e1c5b8487e2f9510097e09",
    "prometheus-postgres-exporter_0.11.1-3+b5_amd64.deb": (
        "9c09749b4a167774c1ce65e8fb546c680215901c912a542829d559dbe199845b"
    ),
    "prometheus-redis-exporter_1.45.0-2+b4_amd64.deb": (
        "4b310368285e805ae533a2be5d37fb2d170d8fa6227497572fcaf2c82dd69c74"
    ),
    "prometheus-nginx-exporter_0.11.0-1+b4_amd64.deb": (
        "f43f836f4480bcef311e18e68874abcf282ffe61708514ae4cce1b864d52e0d2"
    ),
    "prometheus-blackbox-exporter_0.23.0-4+b4_amd64.deb": (
        "61816a8d7923cc56342c18671ec9cb7920d61bec0ed5e6cbe8dd375022a00271"
    ),
    "victoria-metrics_1.79.5+ds1-2+b5_amd64.deb": "bb437c10c5aa7c6a293acbb93828bd726dded618aa4bf3f4b45bef24c6d2f6f0",
}
